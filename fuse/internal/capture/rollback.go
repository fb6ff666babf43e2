package capture

import (
	"errors"
	"fmt"
	"io"

	"weir/fuse/internal/dbfile"
)

// journalID tells one rollback journal from another: the fields of its first
// header that stay as they are while it lives (nonce, original size, sector
// size, page size). The zero value means that there is no live journal: none
// at all, an empty one, or one whose header begins with a zero. SQLite puts
// the header's beginning in before it writes the first page of the database.
type journalID [16]byte

// Offset of journalID in a journal's header
// (https://www.sqlite.org/fileformat.html#the_rollback_journal).
const journalIDOffset = 12

// Write writes p to the database file through w, after what it would
// overwrite is captured.
func (d *Database) Write(w io.WriterAt, p []byte, off int64) (int, error) {
	d.followLocks()
	d.mu.Lock()
	defer d.mu.Unlock()
	checkpoint, err := d.beforeWrite()
	if err != nil {
		return 0, err
	}
	if !checkpoint {
		d.writes(w, p, off)
	}
	return w.WriteAt(p, off)
}

// writes notes that p is about to be written.
func (d *Database) writes(w io.WriterAt, p []byte, off int64) {
	d.dirty.add(off, int64(len(p)), d.sums.PageSize())
	if d.dirty.journal == (journalID{}) {
		d.unjournaled(w)
		signal(d.look.dirty)
		return
	}
	signal(d.look.journaled)
}

// Truncate sets the database file's size to size bytes by op, after what it
// would cut is captured. It is also how a checkpoint that copied the whole
// WAL ends.
func (d *Database) Truncate(size int64, op func() error) error {
	d.followLocks()
	d.mu.Lock()
	defer d.mu.Unlock()
	checkpoint, err := d.beforeWrite()
	if err != nil {
		return err
	}
	if checkpoint {
		return d.endCheckpoint(op)
	}
	d.dirty.resized, d.dirty.packed = true, nil
	if d.dirty.journal == (journalID{}) {
		d.dirty.all = d.dirty.all || d.passes() // cp begins so, and is not seen to go on
		d.copying(nil)
	}
	signal(d.look.dirty)
	if err := op(); err != nil {
		return err
	}
	d.forgetResize()
	return nil
}

// forgetResize is for SQLite's cut of what lies beyond the database, which
// follows the journal's end and changes nothing.
func (d *Database) forgetResize() {
	if len(d.dirty.pages) > 0 || d.dirty.all {
		return
	}
	if _, size, err := d.shape(); err == nil && size == d.sums.Len() {
		d.clean()
		d.explain()
	}
}

// beforeWrite captures what a change of the database file may overwrite, and
// tells whether the change is a checkpoint's: then its pages are captured
// already.
func (d *Database) beforeWrite() (checkpoint bool, err error) {
	live, err := d.journalNow()
	if err != nil {
		return false, err
	}
	if live == (journalID{}) {
		if _, err := d.captureWAL(); err != nil {
			d.note(err)
			return false, err
		}
		if d.wal.frame > 0 {
			return true, nil
		}
	}
	if !d.dirty.empty() && d.dirty.journal != live && !d.passes() {
		d.commitDirty()
		d.log.Publish()
	}
	d.dirty.journal = live
	return false, nil
}

// journalNow reads which journal is live.
func (d *Database) journalNow() (id journalID, err error) {
	if d.journal == nil {
		return id, nil
	}
	var b [journalIDOffset + len(id)]byte
	_, err = d.journal.ReadAt(b[:], 0)
	if ignoreEOF(err) != nil {
		return id, fmt.Errorf("which journal is live: %w", err)
	}
	if err != nil || b[0] == 0 { // as SQLite decides it
		return journalID{}, nil
	}
	return journalID(b[journalIDOffset:]), nil
}

// endJournal runs op, which ends the journal, between the capture of what that
// commits and its publication.
func (d *Database) endJournal(op func() error) error {
	if err := d.lookJournalUnseen(); err != nil {
		return err
	}
	if d.dirty.journal == (journalID{}) {
		return op()
	}
	dirty := d.dirty
	u := d.commitDirty()
	if err := op(); err != nil {
		d.dirty = dirty
		if u != nil {
			d.revert(u)
			return errors.Join(err, d.log.Withdraw())
		}
		return err
	}
	d.log.Publish()
	return nil
}

// commitDirty commits the dirty pages as one transaction that is not yet
// published. Where that fails they stay dirty: the next commit takes them
// along, so that no replica is ever wrong, only behind.
func (d *Database) commitDirty() *undo {
	c, err := d.dirtyChange()
	var u *undo
	if err == nil {
		u, err = d.commit(c)
	}
	d.note(err)
	if err != nil {
		return nil
	}
	d.clean()
	if d.passes() {
		d.explain()
	}
	return u
}

// clean says that no page is dirty any more.
func (d *Database) clean() {
	d.dirty = dirtySet{}
	close(d.idle)
	d.idle = make(chan struct{})
}

// dirtyChange is the change that the dirty pages make.
func (d *Database) dirtyChange() (change, error) {
	if d.wal.frame > 0 {
		return d.belowWAL(), nil
	}
	pageSize, size, err := d.shape()
	if err != nil {
		return change{}, err
	}
	c := change{pageSize: pageSize, size: size, read: d.readDatabase(pageSize), packed: d.dirty.packed}
	if d.dirty.all || pageSize != d.sums.PageSize() {
		c.packed = nil
		c.pages = span(1, size, pageSize)
		return c, nil
	}
	for pgno := d.sums.Len() + 1; pgno <= size; pgno++ {
		d.dirty.pages = addPage(d.dirty.pages, pgno)
	}
	c.pages = sortedPages(d.dirty.pages, size, pageSize)
	return c, nil
}

// belowWAL is the change that dirty pages make below a WAL that has committed
// frames. SQLite can commit so: a connection leaves WAL mode by a transaction
// that is journaled, and another may have begun a new WAL before it. The WAL
// lies over the database for all who open it then.
func (d *Database) belowWAL() change {
	pageSize, size := d.sums.PageSize(), d.sums.Len()
	c := change{pageSize: pageSize, size: size, pages: sortedPages(d.dirty.pages, size, pageSize), read: d.readPage}
	if d.dirty.all {
		c.pages = span(1, size, pageSize)
	}
	return c
}

// noDatabaseError says that the file is no database, in the same words whatever it has: that may be another thing with each
// write.
type noDatabaseError struct{ header error }

func (e *noDatabaseError) Error() string {
	return "the file is no SQLite database, and not replicated until it is one; if it is not to be one, give it another name"
}

func (e *noDatabaseError) Unwrap() error { return e.header }

// shape reads the page size and the size in pages of the database. The header
// counts, where it is valid, as it does for SQLite: what a commit cuts from the
// file is cut after the journal's end. An empty or missing file is a database
// of no pages.
func (d *Database) shape() (pageSize, size uint32, err error) {
	if d.db == nil {
		return d.sums.PageSize(), 0, nil
	}
	fi, err := d.db.Stat()
	if err != nil {
		return 0, 0, err
	}
	if fi.Size() == 0 {
		return d.sums.PageSize(), 0, nil
	}
	var b [dbfile.HeaderSize]byte
	n, err := d.db.ReadAt(b[:], 0)
	if ignoreEOF(err) != nil {
		return 0, 0, fmt.Errorf("read header: %w", err)
	}
	h, err := dbfile.ParseHeader(b[:n])
	if err != nil {
		return 0, 0, &noDatabaseError{err}
	}
	size = uint32(fi.Size() / int64(h.PageSize))
	if h.SizeValid() {
		size = min(size, h.Size)
	}
	return h.PageSize, size, nil
}

// readDatabase reads pages from the database file.
func (d *Database) readDatabase(pageSize uint32) func(uint32, []byte) error {
	return func(pgno uint32, buf []byte) error {
		return readAt(d.db, buf, int64(pgno-1)*int64(pageSize))
	}
}

// lookDirty commits the dirty pages where their transaction has ended.
func (d *Database) lookDirty() (progress bool, err error) {
	if d.dirty.empty() || d.dirty.journal == (journalID{}) {
		return d.settleIdle(), nil
	}
	live, err := d.journalNow()
	if err != nil || live == d.dirty.journal {
		return false, err
	}
	d.commitLooked()
	return d.dirty.empty(), nil
}

// WroteJournal says that the journal was written, which may have ended it.
func (d *Database) WroteJournal() { d.lookJournal() }

// lookJournal commits the dirty pages if their journal has ended.
func (d *Database) lookJournal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if d.passes() {
		err = d.syncedJournalUnseen()
	} else {
		_, err = d.lookDirty()
	}
	if err != nil {
		d.note(err)
	}
}
