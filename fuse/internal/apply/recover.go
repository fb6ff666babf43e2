package apply

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// recover brings the files that the last run left to a state that can be published, and publishes
// it. There are no readers yet.
func (d *Database) recover() error {
	if err := d.finishReplacement(); err != nil {
		return err
	}
	if err := d.setHotAside(); err != nil {
		return err
	}
	var err error
	if d.file, err = d.root.OpenFile(d.name, os.O_RDWR, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.tail.name = d.name + dbfile.SuffixWAL
	if d.tail.file, err = d.companion(dbfile.SuffixWAL); err != nil {
		return err
	}
	if err := d.replay(); err != nil {
		return fmt.Errorf("recover from the WAL: %w", err)
	}
	return d.publishRecovered()
}

// publishRecovered publishes the database as it is in its file, where there is one, and begins an
// empty log where there is none.
func (d *Database) publishRecovered() error {
	page1, size, err := d.examine()
	if err != nil {
		return err
	}
	if page1 != nil {
		if err := d.locate(page1, size); err != nil {
			return err
		}
	} else if last := d.log.Last(); last != (stream.Pos{}) {
		d.logger.Warn("the database is gone; starting from nothing", "db", d.path, "log", last)
		if err := d.log.Reset(stream.Pos{}); err != nil {
			return err
		}
	}
	if err := d.tail.file.Truncate(0); err != nil {
		return err
	}
	if err := d.root.Remove(d.name + dbfile.SuffixSHM); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	shm, err := d.companion(dbfile.SuffixSHM)
	if err != nil {
		return err
	}
	if d.index, err = newIndex(shm, d.name+dbfile.SuffixSHM); err != nil {
		return err
	}
	d.tail.hdr.Salt = [2]uint32{random(), random()}
	if page1 == nil {
		return nil
	}
	if err := d.startWAL(page1, size); err != nil {
		return err
	}
	if d.pos != (stream.Pos{}) {
		d.show()
	}
	return d.tail.file.Sync()
}

// companion opens the file with the given suffix, and makes it where it is missing.
func (d *Database) companion(suffix string) (*os.File, error) {
	f, err := d.root.OpenFile(d.name+suffix, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := d.own(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// setHotAside moves a database with a hot journal out of the way, journal and all: it was somebody
// else's, and is in the middle of a transaction.
func (d *Database) setHotAside() error {
	f, err := d.root.Open(d.name + dbfile.SuffixJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	b := make([]byte, dbfile.JournalHeaderSize)
	n, err := io.ReadFull(f, b)
	if err = errors.Join(ignoreShort(err), f.Close()); err != nil {
		return err
	}
	if n == 0 || b[0] == 0 { // as SQLite decides it
		return nil
	}
	// The journal last: with it, a crash in between is found again.
	to, err := state.SetAside(d.root, d.name, d.name, dbfile.SuffixWAL, dbfile.SuffixJournal)
	if err != nil {
		return err
	}
	d.logger.Warn("the database was left in the middle of a transaction; it is set aside", "db", d.path, "under", to)
	return nil
}

func ignoreShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// examine reads page 1 and the size of the database; page1 is nil where there is none.
func (d *Database) examine() (page1 []byte, size uint32, err error) {
	if d.file == nil {
		return nil, 0, nil
	}
	fi, err := d.file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if fi.Size() == 0 {
		err := d.file.Close()
		d.file = nil
		return nil, 0, err
	}
	b := make([]byte, dbfile.HeaderSize)
	if err := readFull(d.file, b, 0); err != nil {
		return nil, 0, err
	}
	pageSize, err := d.pageSize(b)
	if err != nil {
		return nil, 0, err
	}
	page1 = make([]byte, pageSize)
	if err := readFull(d.file, page1, 0); err != nil {
		return nil, 0, err
	}
	return page1, uint32((fi.Size() + int64(pageSize) - 1) / int64(pageSize)), nil
}

// locate finds the position of the database in the log by its checksum, and has page 1 say WAL mode.
func (d *Database) locate(page1 []byte, size uint32) error {
	raw := page1[dbfile.ReadVersionOffset]
	if err := d.findPos(page1, size); err != nil {
		return err
	}
	if err := d.checkWAL(); err != nil {
		return err
	}
	if err := d.cutLog(); err != nil {
		return err
	}
	setVersion(page1, dbfile.VersionWAL)
	if raw == dbfile.VersionWAL {
		return nil
	}
	if _, err := d.file.WriteAt([]byte{dbfile.VersionWAL, dbfile.VersionWAL}, dbfile.WriteVersionOffset); err != nil {
		return err
	}
	return d.file.Sync()
}

// cutLog drops what the log has after the position of the database: it comes again from the upstream.
func (d *Database) cutLog() error {
	switch d.pos {
	case d.log.Last():
		return nil
	case stream.Pos{}:
		d.logger.Warn("the database is at no position of the log; it is not shown before its pages were compared with the upstream's", "db", d.path, "log", d.log.Last())
		return nil
	}
	d.logger.Warn("the log was ahead of the database; its end is moved aside, and comes again", "db", d.path, "log", d.log.Last(), "database", d.pos)
	return d.log.TruncateAfter(d.pos)
}
