package capture

import (
	"io"
	"log/slog"

	"weir/fuse/internal/dbfile"
)

// Locks tells of the locks that apps hold on the database. SQLite keeps them in
// the kernel, where capture does not see them.
type Locks interface {
	// Writing tells whether an app holds a lock under which SQLite writes the
	// database: RESERVED, PENDING or EXCLUSIVE. It is asked with the Database's
	// mutex held, and must not wait for what may wait for that.
	Writing() (bool, error)
	// Follow has Writing speak of the file that is the database now. It is called
	// before a write, without the mutex.
	Follow() error
	// Leave says that another file is the database now, or none, or that no app has
	// it open. It is called without the mutex, too.
	Leave()
}

// followLocks gets the locks ready for a question. The caller does not hold mu.
func (d *Database) followLocks() {
	if d.locks == nil {
		return
	}
	if err := d.locks.Follow(); err != nil {
		d.mu.Lock()
		d.note(err)
		d.mu.Unlock()
	}
}

// writing tells whether SQLite may be within a transaction of the database. No
// page is written between the answer and what the caller does, for that waits
// for mu.
func (d *Database) writing() bool {
	if d.locks == nil {
		return false
	}
	held, err := d.locks.Writing()
	if err != nil {
		d.note(err)
	}
	return held
}

const withoutJournal = "transactions without a rollback journal (journal_mode=OFF or MEMORY): with synchronous=OFF several may be captured as one, " +
	"and with locking_mode=EXCLUSIVE only when the database is closed; use WAL, DELETE, TRUNCATE or PERSIST for exact transactions"

// unjournaled notes that w writes without a journal.
func (d *Database) unjournaled(w io.WriterAt) {
	d.dirty.last = w
	if !d.copying(w) {
		d.sayOnce(slog.LevelWarn, withoutJournal)
	}
}

// copying notes w as a copier, unless it is SQLite that writes.
func (d *Database) copying(w io.WriterAt) bool {
	if d.writing() {
		return false
	}
	if d.dirty.copiers == nil {
		d.dirty.copiers = make(map[io.WriterAt]struct{})
	}
	d.dirty.copiers[w] = struct{}{}
	return true
}

// copied says that w, if it is a copier, has written all.
func (d *Database) copied(w io.WriterAt) {
	delete(d.dirty.copiers, w)
	delete(d.dirty.copiers, nil)
}

// settle commits what was written without a journal. The caller knows that it
// is whole.
func (d *Database) settle() {
	if d.dirty.empty() || d.dirty.journal != (journalID{}) {
		return
	}
	d.commitLooked()
}

// settleIdle settles if neither SQLite nor a copier is writing.
func (d *Database) settleIdle() (progress bool) {
	if d.unsettled() && !d.writing() {
		d.settle()
		return d.dirty.empty()
	}
	return false
}

// unsettled tells whether there is something that the end of a lock settles.
func (d *Database) unsettled() bool {
	return !d.dirty.empty() && d.dirty.journal == (journalID{}) && len(d.dirty.copiers) == 0
}

// Flushed says that a process closes a descriptor of the database file. It has
// its locks until it is told that it may.
func (d *Database) Flushed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noteUnseen()
	d.settleIdle()
}

// Released says that the handle w of the database file is closed, by all
// processes that had it.
func (d *Database) Released(w io.WriterAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noteUnseen()
	delete(d.passed.handles, w)
	d.copied(w)
	if d.settleIdle(); d.unsettled() {
		signal(d.look.dirty)
	}
}

// SyncedDatabase says that the database file was synced through w; the reply to
// who asked for it waits. SQLite syncs it when the transaction is whole, before
// it unlocks it. Others may sync it at any time.
func (d *Database) SyncedDatabase(w io.WriterAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.copied(w)
	if w == d.dirty.last && len(d.dirty.copiers) == 0 {
		d.settle()
	}
	d.settleIdle()
}

// Synced says that the file of the given role, which is not the database, was
// synced.
func (d *Database) Synced(role dbfile.Role) {
	switch role {
	case dbfile.RoleWAL:
		d.syncedWAL()
		d.Look()
	case dbfile.RoleJournal:
		d.lookJournal()
	}
}

// syncedWAL captures what is committed if a checkpoint, which begins by that sync,
// is not seen to write. Who asked for the sync waits, so that the database is not
// ahead of the log.
func (d *Database) syncedWAL() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.passes() {
		return
	}
	if _, err := d.captureWAL(); err != nil {
		d.note(err)
	}
}
