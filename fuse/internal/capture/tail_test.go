package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// walApp is an app that writes a WAL without a wal-index.
type walApp struct {
	*rig
	hdr  dbfile.WALHeader
	file *os.File
	sums [][2]uint32 // the running checksum before each frame, and after the last
}

// newWALApp begins a WAL. With intercepted every write passes capture.
func newWALApp(t *testing.T, intercepted bool) *walApp {
	t.Helper()
	a := &walApp{rig: openRig(&rig{TB: t, dir: t.TempDir(), intercepted: intercepted})}
	a.hdr = a.walHeader()
	a.sums = [][2]uint32{a.hdr.Cksum}
	a.writeWAL(nil)
	var err error
	if a.file, err = os.OpenFile(a.path("-wal"), os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.file.Close() })
	return a
}

// eachWAL runs a test with and without capture seeing every write.
func eachWAL(t *testing.T, test func(*walApp)) {
	for _, intercepted := range []bool{false, true} {
		t.Run(fmt.Sprintf("intercepted=%v", intercepted), func(t *testing.T) { test(newWALApp(t, intercepted)) })
	}
}

func (a *walApp) writeAt(b []byte, off int64) {
	a.Helper()
	write := a.file.WriteAt
	if a.intercepted {
		write = func(b []byte, off int64) (int, error) { return a.d.WriteWAL(a.file, b, off) }
	}
	if _, err := write(b, off); err != nil {
		a.Fatal(err)
	}
}

// add writes the next frame of an uncommitted transaction, as SQLite does: the
// header, then the page.
func (a *walApp) add(pgno uint32, page []byte) { a.frame(dbfile.Frame{Pgno: pgno}, page) }

// commit writes the next frame as a commit frame.
func (a *walApp) commit(pgno uint32, page []byte) {
	a.frame(dbfile.Frame{Pgno: pgno, Size: a.d.sums.Len()}, page)
}

func (a *walApp) frame(f dbfile.Frame, page []byte) {
	a.Helper()
	var head [dbfile.FrameHeaderSize]byte
	off := a.hdr.FrameOffset(uint32(len(a.sums)))
	a.sums = append(a.sums, dbfile.EncodeFrameHeader(head[:], &a.hdr, f, a.sums[len(a.sums)-1], page))
	a.writeAt(head[:], off)
	a.writeAt(page, off+dbfile.FrameHeaderSize)
}

// overwrite changes the page in a frame and leaves its checksum.
func (a *walApp) overwrite(frame uint32, page []byte) {
	a.Helper()
	a.writeAt(page, a.hdr.FrameOffset(frame)+dbfile.FrameHeaderSize)
}

// rechecksum puts the checksums right from a frame on.
func (a *walApp) rechecksum(frame uint32) {
	a.Helper()
	for b := make([]byte, a.hdr.FrameSize()); int(frame) < len(a.sums); frame++ {
		off := a.hdr.FrameOffset(frame)
		if _, err := a.file.ReadAt(b, off); err != nil {
			a.Fatal(err)
		}
		f := dbfile.Frame{Pgno: binary.BigEndian.Uint32(b), Size: binary.BigEndian.Uint32(b[4:])}
		a.sums[frame] = dbfile.EncodeFrameHeader(b, &a.hdr, f, a.sums[frame-1], b[dbfile.FrameHeaderSize:])
		a.writeAt(b[:dbfile.FrameHeaderSize], off)
	}
}

// rollback has the next frame be written after the given one.
func (a *walApp) rollback(frame uint32) { a.sums = a.sums[:frame+1] }

// look looks until what can be seen must have been.
func (a *walApp) look() {
	for deadline := time.Now().Add(50 * time.Millisecond); time.Now().Before(deadline); {
		a.d.lookNow()
	}
}

// wantPage checks a page of the last captured transaction.
func (a *walApp) wantPage(pgno uint32, page []byte) {
	a.Helper()
	if got, want := a.d.sums.Page(pgno), stream.PageSum(pgno, page); got != want {
		a.Errorf("page %d has checksum %s, want %s", pgno, got, want)
	}
}

// bytesRead is what this process has read from files so far.
func bytesRead(t *testing.T) (n int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanf(bytes.NewReader(b), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A transaction that spills is looked at with every frame. Overwriting its
// frames backwards is what SQLite may do to it.
func TestLongTransactionIsReadOnce(t *testing.T) {
	const n = 1500
	a := newWALApp(t, true)
	before := bytesRead(t)
	for i := range uint32(n) {
		a.add(i%40+2, filled(byte(i)))
		a.d.lookNow()
	}
	for i := uint32(n); i > n/2; i-- {
		a.overwrite(i, filled(byte(i+1)))
		a.d.lookNow()
	}
	a.commit(42, filled(42))
	a.rechecksum(n/2 + 1)
	a.look()
	a.check(2)
	size := int64(n) * a.hdr.FrameSize()
	// The frames are read to be found, half of them again, and their pages once more.
	if got := bytesRead(t) - before; got > 6*size {
		t.Errorf("%d bytes read of a WAL of %d", got, size)
	}
}

func TestLongTransactionIsReadNowAndThen(t *testing.T) {
	a := newWALApp(t, false)
	for i := range uint32(3000) {
		a.add(i%40+2, filled(byte(i)))
	}
	a.d.lookNow()
	start, before := time.Now(), bytesRead(t)
	took, looks := a.d.wal.tail.took, int64(0)
	for ; time.Since(start) < 10*took; looks++ {
		a.d.lookNow()
	}
	size := 3000 * a.hdr.FrameSize()
	if got := bytesRead(t) - before; got > 3*size+200*looks {
		t.Errorf("%d looks in %v read %d bytes of a WAL of %d", looks, 10*took, got, size)
	}
}

// SQLite writes the commit frame before it puts the checksums right.
func TestOverwrittenFrames(t *testing.T) {
	eachWAL(t, func(a *walApp) {
		for pgno := uint32(2); pgno < 20; pgno++ {
			a.add(pgno, filled(1))
			a.d.lookNow()
		}
		a.overwrite(5, filled(2))
		a.overwrite(9, filled(3))
		a.commit(20, filled(4))
		a.look()
		a.check1WithUncommitted()
		a.rechecksum(5)
		a.look()
		a.check(2)
		a.wantPage(6, filled(2))
		a.wantPage(10, filled(3))
		a.wantPage(7, filled(1))
		a.commit(5, filled(5))
		a.look()
		a.check(3)
	})
}

// After a rollback to a savepoint the transaction is shorter than what was
// read of it, and begins and ends with what it had.
func TestShorterAfterSavepoint(t *testing.T) {
	eachWAL(t, func(a *walApp) {
		for pgno := uint32(2); pgno < 20; pgno++ {
			a.add(pgno, filled(1))
			a.d.lookNow()
		}
		a.rollback(4)
		a.add(21, filled(2))
		a.commit(22, filled(3))
		a.look()
		a.check(2)
		a.wantPage(21, filled(2))
		a.wantPage(10, a.page(10))
	})
}

// What overwrites the database must not come before the capture of a commit
// that stands in what was read already.
func TestCheckpointAfterSavepoint(t *testing.T) {
	eachWAL(t, func(a *walApp) {
		for pgno := uint32(2); pgno < 20; pgno++ {
			a.add(pgno, filled(1))
		}
		a.d.lookNow()
		a.d.mu.Lock()
		if !a.intercepted {
			a.d.wal.tail.took = time.Hour // no look is due
		}
		a.d.mu.Unlock()
		a.rollback(4)
		a.commit(21, filled(2))
		a.write(21, filled(2))
		a.check(2)
	})
}

// A commit that cannot be logged is found again.
func TestCommitFrameIsFoundAgain(t *testing.T) {
	eachWAL(t, func(a *walApp) {
		a.add(2, filled(1))
		a.d.lookNow()
		a.commit(3, filled(2))
		a.d.mu.Lock()
		defer a.d.mu.Unlock()
		for range 2 {
			if txn, err := a.d.nextTxn(committed{unnamed: true}); err == nil && len(txn.pages) != 2 || err != nil && a.d.wal.frame == 0 {
				a.Errorf("got %d frames, %v, want 2", len(txn.pages), err)
			}
		}
	})
}

// The frames of a killed writer were read while nobody had a wal-index. The next writer puts others over them, and names
// those in one.
func TestKilledWritersFramesOverwritten(t *testing.T) {
	a := newWALApp(t, false)
	for pgno := uint32(2); pgno < 6; pgno++ {
		a.add(pgno, filled(1))
	}
	a.look()
	a.d.mu.Lock()
	a.d.wal.tail.took = time.Hour // a look will not read it anew by itself
	a.d.mu.Unlock()
	a.rollback(0)
	a.add(7, filled(2))
	a.commit(8, filled(3))
	a.writeIndex(dbfile.IndexHeader{PageSize: 4096, MxFrame: 2, Size: a.d.sums.Len(), FrameCksum: a.sums[2], Salt: a.hdr.Salt})
	a.d.lookNow()
	a.check(2)
	a.wantPage(8, filled(3))
	if err := a.d.Status().LastError; err != "" {
		t.Errorf("got error %q, want none", err)
	}
}
