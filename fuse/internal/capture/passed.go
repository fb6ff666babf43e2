package capture

import (
	"errors"
	"io"
	"log/slog"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
)

// passed is what is known of a database that is written unseen: the kernel passes
// through what comes by handles that were opened in WAL mode. In WAL mode only
// checkpoints write, and they write what the WAL has. What is written by those
// handles otherwise (their connection has left WAL mode, or is cp) is found by the
// file's times, and then all pages are read.
type passed struct {
	handles map[io.WriterAt]struct{}

	// explained is the file as it was when all that had been written to it came
	// from a checkpoint, or was captured.
	explained state.FileID
}

// errUnquiet says that the database was being written while it was read.
var errUnquiet = errors.New("the database is being written")

// MayPass tells whether the database may be written unseen by handles that are
// opened now. None is open.
func (d *Database) MayPass() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.intercepted || d.db == nil || !d.dirty.empty() || !d.activity.busy && !d.passAtOnce {
		return false
	}
	if live, err := d.journalNow(); err != nil || live != (journalID{}) {
		return false
	}
	var b [dbfile.HeaderSize]byte
	if _, err := d.db.ReadAt(b[:], 0); err != nil {
		return false
	}
	h, err := dbfile.ParseHeader(b[:])
	return err == nil && h.WAL()
}

// PassThrough says that the database is written unseen by w, until that is Released.
func (d *Database) PassThrough(w io.WriterAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed.handles == nil {
		d.passed.handles = make(map[io.WriterAt]struct{})
	}
	if len(d.passed.handles) == 0 {
		d.explain()
	}
	d.passed.handles[w] = struct{}{}
}

// Unused says that no app has the database open: whether it is written unseen is
// decided anew when one opens it.
func (d *Database) Unused() {
	d.mu.Lock()
	d.endActivity()
	d.mu.Unlock()
	if d.locks != nil {
		d.locks.Leave()
	}
}

// passes tells whether the database may be written unseen.
func (d *Database) passes() bool { return len(d.passed.handles) > 0 }

// explain says that all that was written to the database so far is accounted for.
func (d *Database) explain() {
	if id, err := state.Identify(d.db); err == nil {
		d.passed.explained = id
	}
}

// Written says that the database was written, by whatever handle. It may come late.
func (d *Database) Written() {
	d.followLocks()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noteUnseen()
}

// noteUnseen is lookUnseen for who has nobody to tell of an error.
func (d *Database) noteUnseen() {
	if err := d.lookUnseen(); err != nil {
		d.note(err)
	}
}

// lookUnseen marks all pages where the database was written unseen, and not by a
// checkpoint.
func (d *Database) lookUnseen() error {
	if !d.passes() {
		return nil
	}
	live, err := d.journalNow()
	if err != nil {
		return err
	}
	if live == (journalID{}) {
		if _, err := d.captureWAL(); err != nil || d.wal.frame > 0 {
			return err
		}
	}
	now, err := state.Identify(d.db)
	if err != nil || now == d.passed.explained {
		return err
	}
	d.passed.explained = now
	d.markUnseen(live)
	return nil
}

const leftWAL = "the database has left WAL mode while it was open: until all apps have closed it, each transaction has all of it read"

// markUnseen has the next commit read all pages; live is the journal that they are
// written under.
func (d *Database) markUnseen(live journalID) {
	if live != (journalID{}) || !d.copying(nil) {
		d.sayOnce(slog.LevelInfo, leftWAL)
	}
	d.dirty.all, d.dirty.journal = true, live
	signal(d.look.dirty)
}

// lookJournalUnseen is for a journal that is about to end: what was written under
// it is not seen. Who ends it waits.
func (d *Database) lookJournalUnseen() error {
	if !d.passes() {
		return nil
	}
	live, err := d.journalNow()
	if err == nil && live != (journalID{}) {
		d.markUnseen(live)
	}
	return err
}

// syncedJournalUnseen is for a journal that is synced, which SQLite does before it
// writes the database, and when it has zeroed the header.
func (d *Database) syncedJournalUnseen() error {
	live, err := d.journalNow()
	switch {
	case err != nil:
		return err
	case live != (journalID{}):
		d.markUnseen(live)
	case d.dirty.journal != (journalID{}):
		d.commitDirty()
		d.log.Publish()
	}
	return nil
}

// commitQuiet is commitDirty where who writes the database unseen does not wait: it
// commits nothing if that happens meanwhile.
func (d *Database) commitQuiet() {
	before, err := state.Identify(d.db)
	quiet := func() error {
		now, err := state.Identify(d.db)
		if err == nil && (now != before || !now.Settled() || d.writing()) {
			err = errUnquiet
		}
		return err
	}
	if err == nil {
		err = quiet()
	}
	var c change
	if err == nil {
		c, err = d.dirtyChange()
	}
	if err == nil {
		c.still = quiet
		_, err = d.commit(c)
	}
	if errors.Is(err, errUnquiet) {
		return
	}
	if d.note(err); err == nil {
		d.clean()
		d.passed.explained = before
		d.log.Publish()
	}
}

// rebuildUnseen commits what was written unseen before the WAL began, together with
// what that has: checkpoints may have mixed the two.
func (d *Database) rebuildUnseen(c committed) error {
	still := func() error {
		now, ok, err := d.committedNow()
		if err == nil && !c.unnamed && (!ok || now.salt != c.salt || now.attempted > c.mxFrame) {
			err = errUnquiet
		}
		return err
	}
	before := d.sums
	now, err := d.rebuilt(c.mxFrame)
	if err == nil {
		err = d.catchUp(before, now, still)
	}
	if err != nil {
		d.sums = before
		return err
	}
	d.clean()
	return nil
}
