package capture

import (
	"errors"
	"fmt"
	"io"
	"os"

	"weir/fuse/internal/dbfile"
)

// wal is how far one database's WAL is captured.
type wal struct {
	// file is the WAL, nil where there is none.
	file *os.File

	// hdr is the header of the WAL that the fields below speak of. A WAL that
	// SQLite restarts has another header with other salts.
	hdr dbfile.WALHeader

	// frame is the last captured frame, a commit frame; 0 before the first.
	frame uint32

	// sum is the running checksum after frame.
	sum [2]uint32

	// first is the first frame of the transaction that ends with frame, and
	// firstSum the checksum in it; first is 0 where that is not known.
	first    uint32
	firstSum [2]uint32

	// index has the newest frame of each page.
	// Invariant: frames in index are at most frame, and those that are not in
	// it are in the database file.
	index map[uint32]uint32

	// tail is what stands behind frame, as far as it is read; nil where nothing is.
	tail *tail

	// ahead reads what the wal-index says is committed, while capture goes over
	// it. Its buffer is all that is kept.
	ahead dbfile.WALReader
}

// errWALBehind says that the WAL does not hold what the wal-index counts: a
// writer is about to write it, or the file is damaged.
var errWALBehind = errors.New("the WAL ends before the last committed frame that the wal-index names")

// restart begins the capture of a WAL with another header.
func (w *wal) restart(hdr dbfile.WALHeader) {
	*w = wal{file: w.file, hdr: hdr, sum: hdr.Cksum, index: make(map[uint32]uint32), ahead: w.ahead}
}

// forget is for a WAL that is gone, or whose frames are all in the database.
func (w *wal) forget() { w.restart(dbfile.WALHeader{}) }

func (w *wal) readPage(frame uint32, buf []byte) error {
	if page, ok := w.ahead.Image(frame); ok {
		copy(buf, page)
		return nil
	}
	return readAt(w.file, buf, w.hdr.FrameOffset(frame)+dbfile.FrameHeaderSize)
}

// readHeader reads the WAL's header; ok is false where there is none yet.
func (w *wal) readHeader() (hdr dbfile.WALHeader, ok bool, err error) {
	var b [dbfile.WALHeaderSize]byte
	if _, err := w.file.ReadAt(b[:], 0); errors.Is(err, io.EOF) {
		return hdr, false, nil
	} else if err != nil {
		return hdr, false, err
	}
	hdr, err = dbfile.ParseWALHeader(b[:])
	return hdr, err == nil, nil
}

// captureNew captures and publishes the committed transactions that stand in
// the WAL after the last captured one. The caller holds mu.
func (d *Database) captureNew() (progress bool, err error) {
	if stray, err := d.hasNoWAL(); stray || err != nil {
		return false, err
	}
	c, ok, err := d.committedNow()
	if err != nil || !ok {
		return false, err
	}
	return d.captureTo(c)
}

// hasNoWAL tells whether there is no WAL. One beside an empty file, or none, is what another database of that name left:
// SQLite removes it.
func (d *Database) hasNoWAL() (bool, error) {
	if d.wal.file == nil || d.db == nil || d.sums.Len() > 0 {
		return d.wal.file == nil || d.db == nil, nil
	}
	return d.isEmpty()
}

// isEmpty tells whether there is no database, or an empty file.
func (d *Database) isEmpty() (bool, error) {
	if d.db == nil {
		return true, nil
	}
	fi, err := d.db.Stat()
	return err == nil && fi.Size() == 0, err
}

func (d *Database) captureTo(c committed) (progress bool, err error) {
	if c.mxFrame == 0 {
		if c.salt != d.wal.hdr.Salt && d.wal.hdr != (dbfile.WALHeader{}) {
			d.forgetWAL()
		}
		return false, nil
	}
	if !c.unnamed && c.mxFrame == d.wal.frame && c.salt == d.wal.hdr.Salt {
		return false, nil // as a checkpoint finds it at each page that it writes
	}
	hdr, ok, err := d.wal.readHeader()
	if err != nil || !ok {
		return false, err
	}
	if !c.unnamed && hdr.Salt != c.salt {
		return false, nil
	}
	if hdr != d.wal.hdr {
		d.wal.restart(hdr)
	}
	if d.passes() && !d.dirty.empty() {
		return true, d.rebuildUnseen(c)
	}
	if ok, err = d.stillThere(c); err != nil {
		return false, err
	}
	if !ok {
		return true, d.rebuild(c.mxFrame)
	}
	return d.captureAll(c)
}

// publishEvery is how many transactions of a backlog become visible together:
// each time costs who waits for it a wake-up.
const publishEvery = 32

// hurryFrames is the backlog, in frames, from which on pages are not compressed.
// A writer at full speed commits faster than they could be, and waits for capture
// before the WAL begins anew.
const hurryFrames = 64

// forgetWAL is forget where all frames have been captured.
func (d *Database) forgetWAL() {
	d.wal.forget()
	if d.passes() {
		d.explain()
	}
}

// captureAll captures the transactions from the last captured frame to
// c.mxFrame, and publishes them.
func (d *Database) captureAll(c committed) (progress bool, err error) {
	defer d.log.Publish()
	d.wal.ahead.Reset(d.wal.file, d.wal.hdr, d.wal.frame, d.wal.sum, c.mxFrame)
	defer d.wal.ahead.Reset(nil, d.wal.hdr, 0, d.wal.sum, 0) // the frames may change from here on
	for n := 1; d.wal.frame < c.mxFrame; n++ {
		more, err := d.captureTxn(c)
		if err != nil || !more {
			return progress, err
		}
		progress = true
		if n%publishEvery == 0 {
			d.log.Publish()
		}
	}
	return progress, nil
}

// stillThere tells whether the last captured transaction still stands in the
// WAL. Where no wal-index says what is committed it may not: its writer failed
// after writing the commit frame, and the next transaction overwrites it from
// its first frame on.
func (d *Database) stillThere(c committed) (bool, error) {
	if !c.unnamed {
		return c.mxFrame >= d.wal.frame, nil
	}
	if d.wal.first == 0 {
		return true, nil
	}
	var head [dbfile.FrameHeaderSize]byte
	if err := readAt(d.wal.file, head[:], d.wal.hdr.FrameOffset(d.wal.first)); err != nil {
		return false, err
	}
	return dbfile.FrameSum(head[:]) == d.wal.firstSum, nil
}

// rebuild reads the whole database anew, with the WAL up to mxFrame, and
// commits what differs from the log's last position as one transaction.
func (d *Database) rebuild(mxFrame uint32) error {
	d.logger.Warn("a captured commit was overwritten by its successor; correcting it", "db", d.path, "pos", d.log.Last())
	return d.catchUpTo(mxFrame, nil)
}

// catchUpTo is rebuild in silence; still is that of [change]. Where it fails nothing
// has changed.
func (d *Database) catchUpTo(mxFrame uint32, still func() error) error {
	before, was := d.sums, d.wal
	now, err := d.rebuilt(mxFrame)
	if err == nil {
		err = d.catchUp(before, now, still)
	}
	if err != nil {
		was.tail = nil
		d.sums, d.wal = before, was
	}
	return err
}

// captureTxn captures the transaction after the last captured frame; false
// where there is none.
func (d *Database) captureTxn(c committed) (bool, error) {
	t, err := d.nextTxn(c)
	if errors.Is(err, io.EOF) && c.unnamed {
		return false, nil
	}
	if errors.Is(err, io.EOF) {
		err = errWALBehind
	}
	if err != nil {
		return false, fmt.Errorf("capture %s: frame %d of %d in %s: %w", d.path, d.wal.frame+1, c.mxFrame, d.name+"-wal", err)
	}
	d.settle() // pages written without a journal come before the WAL's first frame
	ch := d.walChange(t)
	ch.hurry = !c.unnamed && c.mxFrame-t.last() > hurryFrames
	if _, err := d.commit(ch); err != nil {
		return false, err
	}
	d.wal.advance(t)
	d.active(len(t.pages))
	return true, nil
}

// walTxn is a transaction as it stands in the WAL.
type walTxn struct {
	first    uint32    // its first frame
	pages    []uint32  // the page numbers of its frames; the last is the commit frame
	size     uint32    // pages after the commit
	sum      [2]uint32 // running checksum after the last frame
	firstSum [2]uint32 // and after the first
}

// last is t's commit frame.
func (t *walTxn) last() uint32 { return t.first + uint32(len(t.pages)) - 1 }

// advance notes that t is captured.
func (w *wal) advance(t walTxn) {
	w.frame, w.sum, w.first, w.firstSum = t.last(), t.sum, t.first, t.firstSum
	for i, pgno := range t.pages {
		w.index[pgno] = t.first + uint32(i)
	}
}

// walChange is the change that t makes: the pages in its frames, and those by
// which it grows the database without writing them.
func (d *Database) walChange(t walTxn) change {
	pageSize := d.wal.hdr.PageSize
	set := make(map[uint32]uint32, len(t.pages)) // the newest frame of each page
	for i, pgno := range t.pages {
		set[pgno] = t.first + uint32(i)
	}
	for pgno := d.sums.Len() + 1; pgno <= t.size; pgno++ {
		if _, ok := set[pgno]; !ok {
			set[pgno] = 0
		}
	}
	return change{
		pageSize: pageSize,
		size:     t.size,
		pages:    sortedPages(set, t.size, pageSize),
		read: func(pgno uint32, buf []byte) error {
			if frame := set[pgno]; frame != 0 {
				return d.wal.readPage(frame, buf)
			}
			return d.readPage(pgno, buf)
		},
		wal: walRange{
			offset: d.wal.hdr.FrameOffset(t.first),
			size:   int64(len(t.pages)) * d.wal.hdr.FrameSize(),
			salt:   d.wal.hdr.Salt,
		},
	}
}

// readPage reads a page of the database as of the last captured transaction,
// from the WAL or from the database file. The caller holds mu.
func (d *Database) readPage(pgno uint32, buf []byte) error {
	if frame, ok := d.wal.index[pgno]; ok {
		return d.wal.readPage(frame, buf)
	}
	return readAt(d.db, buf, int64(pgno-1)*int64(len(buf)))
}
