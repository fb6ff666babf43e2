package capture

import (
	"errors"
	"io"
	"log/slog"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// passed is what is known of a database that is written unseen: the kernel passes
// through what comes by handles that were opened in WAL mode. In WAL mode only
// checkpoints write, and they write what the WAL has. What is written by those
// handles otherwise (their connection has left WAL mode, or is cp) is found by the
// file's times, and then all pages are read.
type passed struct {
	// handles are those by which it is; true for those that can't read, and so are
	// not SQLite's.
	handles map[io.WriterAt]bool

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
// SQLite's handles can read.
func (d *Database) PassThrough(w io.WriterAt, writeOnly bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed.handles == nil {
		d.passed.handles = make(map[io.WriterAt]bool)
	}
	if len(d.passed.handles) == 0 {
		d.explain()
	}
	d.passed.handles[w] = writeOnly
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
	d.mu.Lock()
	passes := d.passes()
	d.mu.Unlock()
	if !passes {
		return // a lock's file would keep the way in which the next app opens the database
	}
	d.followLocks()
	d.mu.Lock()
	d.noteUnseen()
	passes = d.passes()
	d.mu.Unlock()
	if !passes && d.locks != nil {
		d.locks.Leave()
	}
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
	now, err := state.Identify(d.db)
	if err != nil {
		return err
	}
	live, err := d.journalNow() // after the times: what they tell of may be written under it
	if err != nil {
		return err
	}
	if live == (journalID{}) {
		if _, err := d.captureWAL(); err != nil || d.wal.frame > 0 {
			return err
		}
	}
	if now == d.passed.explained && (now.Settled() || d.hasPage1()) {
		return nil
	}
	d.passed.explained = now
	d.markUnseen(live)
	return nil
}

// hasPage1 tells whether the file's first page is as it was captured. SQLite changes it
// with each transaction outside of WAL mode, where the file's times may not yet tell.
func (d *Database) hasPage1() bool {
	if d.sums.Len() == 0 {
		return true
	}
	buf := make([]byte, d.sums.PageSize())
	return readAt(d.db, buf, 0) == nil && stream.PageSum(1, buf) == d.sums.Page(1)
}

const leftWAL = "the database has left WAL mode while it was open: until all apps have closed it, each transaction has all of it read"

// markUnseen has the next commit read all pages; live is the journal that they are
// written under.
func (d *Database) markUnseen(live journalID) {
	if live != (journalID{}) || !d.copyingUnseen() {
		d.sayOnce(slog.LevelInfo, leftWAL)
	}
	d.dirty.all, d.dirty.journal = true, live
	signal(d.look.dirty)
}

// copyingUnseen notes as copiers the handles that are not SQLite's, if there are any.
func (d *Database) copyingUnseen() (copying bool) {
	for w, writeOnly := range d.passed.handles {
		if !writeOnly {
			continue
		}
		if d.dirty.copiers == nil {
			d.dirty.copiers = make(map[io.WriterAt]struct{})
		}
		d.dirty.copiers[w], copying = struct{}{}, true
	}
	return copying
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

// commitLooked commits the dirty pages, whose transaction is found to have ended.
func (d *Database) commitLooked() {
	if d.passes() {
		d.commitQuiet()
		return
	}
	d.commitDirty()
	d.log.Publish()
}

// commitQuiet is commitDirty where who writes the database unseen does not wait: it
// commits nothing if that happens meanwhile.
func (d *Database) commitQuiet() {
	before, err := state.Identify(d.db)
	quiet := func() error {
		now, err := state.Identify(d.db)
		live, journalErr := d.journalNow()
		if err = errors.Join(err, journalErr); err == nil && (now != before || !now.Settled() || live != (journalID{}) || d.writing()) {
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
	if err := d.catchUpTo(c.mxFrame, still); err != nil {
		return err
	}
	d.clean()
	return nil
}
