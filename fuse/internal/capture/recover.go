package capture

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/superfly/ltx"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// recover brings sums and log to the state that the files hold.
func (d *Database) recover() error {
	d.wal.forget()
	defer func() { d.recovered = nil }() // from here on the file changes
	s, sums, err := d.load()
	if err != nil {
		return err
	}
	db, wal, err := d.identify(state.Identify)
	if err != nil {
		return err
	}
	if sums != nil && d.db != nil && s.Database == db && s.WAL == wal {
		return d.resume(s, sums)
	}
	if ok, err := d.recoverBehind(s); ok || err != nil {
		return err
	}
	return d.recoverAll(sums)
}

// resume goes on where a clean Close left off.
func (d *Database) resume(s saved, sums *stream.Sums) error {
	d.sums = sums
	if d.wal.file == nil || s.Frame == 0 {
		return nil
	}
	hdr, ok, err := d.wal.readHeader()
	if err != nil || !ok {
		return err
	}
	d.wal.restart(hdr)
	if _, err := d.indexTo(s.Frame); err != nil {
		return err
	}
	return d.captureRest()
}

// recoverBehind handles a database whose WAL goes on where the log ends: in
// the WAL that the last transaction came from, where the last stop left it, or
// at the start of another. What follows is captured one by one. It returns
// false where that is not so.
func (d *Database) recoverBehind(s saved) (bool, error) {
	hdr, ok, err := d.recoveredWAL()
	if err != nil || !ok {
		return false, err
	}
	var tried []uint32
	for _, frame := range []uint32{d.loggedFrame(hdr), s.frameIn(hdr), 0} {
		if slices.Contains(tried, frame) {
			continue
		}
		tried = append(tried, frame)
		if ok, err := d.recoverFrom(hdr, frame); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// loggedFrame is the last frame of the WAL with header hdr that the log has.
func (d *Database) loggedFrame(hdr dbfile.WALHeader) uint32 {
	h, ok := d.lastHeader()
	if !ok || h.WALSize == 0 || hdr.Salt != [2]uint32{h.WALSalt1, h.WALSalt2} || hdr.PageSize != h.PageSize {
		return 0
	}
	return uint32((h.WALOffset + h.WALSize - dbfile.WALHeaderSize) / hdr.FrameSize())
}

// recoverFrom captures what the WAL has after frame, if the database as of
// that frame is at the log's last position.
func (d *Database) recoverFrom(hdr dbfile.WALHeader, frame uint32) (bool, error) {
	d.sums = stream.NewSums(0)
	d.wal.restart(hdr)
	walSize, err := d.indexTo(frame)
	if err != nil || d.wal.frame != frame {
		return false, err
	}
	pageSize, size, err := d.shapeUnderWAL(walSize)
	if errors.Is(err, dbfile.ErrNotDatabase) || errors.Is(err, dbfile.ErrShort) {
		return false, nil // what follows may have a header
	}
	if err != nil {
		return false, err
	}
	sums, err := d.readSums(size, pageSize)
	if err != nil || sums.Total() != d.log.Last().PostApplyChecksum {
		return false, err
	}
	d.sums = sums
	return true, d.captureRest()
}

func (d *Database) lastHeader() (ltx.Header, bool) {
	last := d.log.Last()
	pos, h, ok := d.log.Find(last.PostApplyChecksum)
	return h, ok && pos == last
}

// recoverAll reads the whole database with all that its WAL commits, finds it
// in the log, or adds the difference to the log. before, where it is known, is
// the database at the log's last position.
func (d *Database) recoverAll(before *stream.Sums) error {
	sums, err := d.readAll(math.MaxUint32)
	if err != nil {
		return err
	}
	if sums.Len() == 0 && d.log.Last() == (stream.Pos{}) {
		d.sums = sums
		return nil
	}
	// An empty file in the place of a database is another one, which goes on: it may have been empty before.
	another := sums.Len() == 0 && before != nil
	if pos, _, ok := d.log.Find(sums.Total()); ok && !another {
		d.sums = sums
		return d.cutLog(pos)
	}
	if before != nil {
		d.logger.Info("catching up with changes made while weir did not run", "db", d.path, "pos", d.log.Last())
		return d.catchUp(before, sums, nil)
	}
	d.sums = sums
	pos := stream.Pos{TXID: d.log.Last().TXID + 1, PostApplyChecksum: sums.Total()}
	if pos.TXID > 1 {
		d.logger.Warn("the database was changed while weir did not see it; replicas get the pages that differ", "db", d.path, "pos", pos)
	}
	return d.log.Reset(pos)
}

// cutLog drops what the log has after pos: transactions that did not survive.
func (d *Database) cutLog(pos stream.Pos) error {
	if pos == d.log.Last() {
		return nil
	}
	d.logger.Warn("the log was ahead of the database; its end is moved aside", "db", d.path, "log", d.log.Last(), "database", pos)
	return d.log.TruncateAfter(pos)
}

// catchUp commits as one transaction what changed while weir did not see it; still is that of [change].
func (d *Database) catchUp(before, now *stream.Sums, still func() error) error {
	d.sums = before
	c := change{pageSize: now.PageSize(), size: now.Len(), read: d.readPage, still: still}
	if c.pageSize == 0 {
		c.pageSize = before.PageSize()
	}
	c.pages = span(1, c.size, c.pageSize)
	if _, err := d.commit(c); err != nil {
		return err
	}
	d.log.Publish()
	return nil
}

// rebuilt is readAll while apps have the database open.
func (d *Database) rebuilt(mxFrame uint32) (*stream.Sums, error) {
	defer func() { d.recovered = nil }()
	return d.readAll(mxFrame)
}

// readAll indexes the WAL up to mxFrame and reads every page's checksum.
func (d *Database) readAll(mxFrame uint32) (*stream.Sums, error) {
	d.sums = stream.NewSums(0)
	d.wal.forget()
	hdr, ok, err := d.recoveredWAL()
	if err != nil {
		return nil, err
	}
	var walSize uint32
	if ok {
		d.wal.restart(hdr)
		if walSize, err = d.indexTo(mxFrame); err != nil {
			return nil, err
		}
	}
	pageSize, size, err := d.shapeUnderWAL(walSize)
	if err != nil {
		return nil, err
	}
	return d.readSums(size, pageSize)
}

// recoveredWAL is the header of the WAL with which SQLite would read the database. A WAL beside an empty file is a stray
// one, which SQLite removes.
func (d *Database) recoveredWAL() (hdr dbfile.WALHeader, ok bool, err error) {
	if d.wal.file == nil || d.db == nil {
		return hdr, false, nil
	}
	fi, err := d.db.Stat()
	if err != nil || fi.Size() == 0 {
		return hdr, false, err
	}
	return d.wal.readHeader()
}

// shapeUnderWAL is the page size and the size of the database with the indexed frames, the last of which commits walSize
// pages. As for SQLite, page 1 in the WAL counts, and not the one in the file: with synchronous=OFF nothing is synced
// before a checkpoint or after it, so that a power failure can take the file's and leave the WAL's.
func (d *Database) shapeUnderWAL(walSize uint32) (pageSize, size uint32, err error) {
	if _, ok := d.wal.index[1]; ok {
		return d.wal.hdr.PageSize, walSize, nil
	}
	if pageSize, size, err = d.shape(); err == nil && walSize > 0 {
		pageSize, size = d.wal.hdr.PageSize, walSize
	}
	return pageSize, size, err
}

// indexTo indexes the committed frames up to frame, or as many as there are,
// and returns the database's size after the last, 0 where there is none.
func (d *Database) indexTo(frame uint32) (size uint32, err error) {
	for d.wal.frame < frame {
		t, err := d.wal.scanTxn()
		if err != nil {
			return size, ignoreEOF(err)
		}
		d.wal.advance(t)
		size = t.size
	}
	return size, nil
}

// captureRest captures what the WAL commits after the indexed frames. No
// process has the database open, so frames that verify are committed.
func (d *Database) captureRest() error {
	_, err := d.captureTo(committed{mxFrame: math.MaxUint32, unnamed: true})
	return err
}

// readSums reads all pages as of the indexed frames.
func (d *Database) readSums(size, pageSize uint32) (*stream.Sums, error) {
	file, err := d.fileSums(pageSize)
	if err != nil {
		return nil, err
	}
	sums := file.Clone()
	sums.Truncate(size)
	buf := make([]byte, pageSize)
	for _, pgno := range d.notInFile(file.Len(), size, pageSize) {
		if err := d.readPage(pgno, buf); err != nil {
			return nil, fmt.Errorf("read page %d: %w", pgno, err)
		}
		sums.Set(pgno, stream.PageSum(pgno, buf))
	}
	return sums, nil
}

// notInFile are the pages of a database of size pages that the file, of n pages, does not have as they are.
func (d *Database) notInFile(n, size, pageSize uint32) []uint32 {
	set := maps.Clone(d.wal.index)
	for pgno := n + 1; pgno <= size; pgno++ {
		set[pgno] = 0
	}
	return sortedPages(set, size, pageSize)
}

// fileSums reads all pages of the database file, once in a recovery.
func (d *Database) fileSums(pageSize uint32) (*stream.Sums, error) {
	if d.db == nil || pageSize == 0 {
		return stream.NewSums(pageSize), nil
	}
	if d.recovered != nil && d.recovered.PageSize() == pageSize {
		return d.recovered, nil
	}
	fi, err := d.db.Stat()
	if err != nil {
		return nil, err
	}
	d.recovered, err = state.ReadSums(d.db, pageSize, uint32((fi.Size()+int64(pageSize)-1)/int64(pageSize)))
	return d.recovered, err
}
