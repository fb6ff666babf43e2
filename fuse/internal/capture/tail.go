package capture

import (
	"time"

	"weir/fuse/internal/dbfile"
)

// tail is the frames after the last captured one, as far as they have been
// read without a commit frame among them. It is kept from look to look: a
// transaction that spills from SQLite's cache is a long one, and is looked at
// with every frame.
//
// SQLite may change what has been read. A transaction that writes a page again
// overwrites its frame, and puts the checksums right at its commit; after a
// rollback, to a savepoint too, other frames take the place of those written.
// Where every write to the WAL passes [Database.WriteWAL], cut follows it
// exactly. Where not, a commit counts only if it is found in one go, from the
// first frame on, and what captures before it overwrites reads all anew.
type tail struct {
	r *dbfile.WALReader // behind the last frame of txn that was read

	// txn is what has been read; its size and sum come with the commit frame.
	txn walTxn

	began time.Time     // when the first frame was read
	took  time.Duration // how long the reads took that found frames
}

// scanShare is the part of the time that may go into reading a tail anew that
// could have been changed unseen: one of scanShare.
const scanShare = 8

// due tells whether enough time has gone by to read all of t anew.
func (t *tail) due() bool { return time.Since(t.began) >= scanShare*t.took }

// scanTxn reads the frames after the last captured one up to the next commit
// frame, going on where it stopped the last time; io.EOF where the WAL has
// none that verifies.
func (w *wal) scanTxn() (walTxn, error) {
	start := time.Now()
	if w.tail == nil {
		w.tail = &tail{r: dbfile.NewWALReader(w.file, w.hdr, w.frame, w.sum), txn: walTxn{first: w.frame + 1}, began: start}
	}
	t := w.tail
	before := len(t.txn.pages)
	err := t.read()
	if len(t.txn.pages) > before {
		t.took += time.Since(start)
	}
	if err == nil {
		w.tail = nil // it begins anew behind the commit frame
	}
	return t.txn, err
}

func (t *tail) read() error {
	for {
		f, err := t.r.Next(nil)
		if err != nil {
			return err
		}
		if t.txn.pages = append(t.txn.pages, f.Pgno); len(t.txn.pages) == 1 {
			t.txn.firstSum = t.r.Sum()
		}
		if f.Commit() {
			t.txn.size, t.txn.sum = f.Size, t.r.Sum()
			return nil
		}
	}
}

// rescanTxn is scanTxn from the first frame.
func (w *wal) rescanTxn() (walTxn, error) {
	w.tail = nil
	return w.scanTxn()
}

// namedTxn reads the next transaction that the wal-index names.
func (w *wal) namedTxn() (walTxn, error) {
	w.tail = nil
	t := tail{r: &w.ahead, txn: walTxn{first: w.frame + 1}}
	err := t.read()
	return t.txn, err
}

// cut takes from the tail the frame that the byte at off is in, which is about
// to be overwritten, and those after it.
func (w *wal) cut(off int64) {
	if w.tail == nil || off >= w.hdr.FrameOffset(w.tail.r.Frame()+1) {
		return
	}
	keep := uint32((off - dbfile.WALHeaderSize) / w.hdr.FrameSize()) // the last frame before it
	var head [dbfile.FrameHeaderSize]byte
	if keep <= w.frame || readAt(w.file, head[:], w.hdr.FrameOffset(keep)) != nil {
		w.tail = nil
		return
	}
	// The running checksum in keep's header was verified when keep was read.
	w.tail.r = dbfile.NewWALReader(w.file, w.hdr, keep, dbfile.FrameSum(head[:]))
	w.tail.txn.pages = w.tail.txn.pages[:keep-w.frame]
}

// nextTxn is the transaction after the last captured one; io.EOF where there
// is none yet. Where the wal-index names one, what was read before that may be
// the frames of a killed writer, which it overwrote.
func (d *Database) nextTxn(c committed) (walTxn, error) {
	if !c.unnamed {
		return d.wal.namedTxn()
	}
	whole := d.wal.tail == nil
	t, err := d.wal.scanTxn()
	if err == nil && !whole && !d.intercepted {
		return d.wal.rescanTxn()
	}
	return t, err
}

// lookWAL is captureWAL for a look, after which nothing is overwritten: what
// could have been changed unseen is read anew now and then.
func (d *Database) lookWAL() (progress bool, err error) {
	if !d.intercepted && d.wal.tail != nil && d.wal.tail.due() {
		d.wal.tail = nil
	}
	return d.captureNew()
}

// captureWAL captures and publishes the committed transactions that stand in
// the WAL after the last captured one. The caller holds mu.
func (d *Database) captureWAL() (progress bool, err error) {
	if !d.intercepted {
		d.wal.tail = nil
	}
	return d.captureNew()
}
