package apply

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/fuse/internal/dbfile"
)

// chunkSize is how much of the wal-index is mapped, and allocated in the file, at a time.
const (
	chunkSize    = 256 << 10
	chunkRegions = chunkSize / dbfile.RegionSize

	// ckptInfoEnd is where the header copies and what is behind them end, and the frames begin.
	ckptInfoEnd = 2*dbfile.IndexHeaderSize + dbfile.CkptInfoSize
)

// Read-marks as this package uses them; see the package comment.
const (
	firstMark = 1
	lastMark  = 3 // of those that readers hold for as long as they read
	floorMark = 4 // always 0
)

// index is the wal-index, mapped from its file. What readers have mapped may be a copy that the
// kernel made of the file, so each change goes to the file first, and from there to the [Mount], in
// the order in which readers may see it: a page that the kernel reads anew is never older than what
// was stored. Words that readers look at without a lock are stored atomically.
//
// Invariant: both copies of the header are Database.hdr, and mxFrame > 0, once a database is
// published.
// Invariant: nBackfill <= mxFrame.
// Invariant: one of the marks 1 to 3 is at most mxFrame, and mark 4 is 0.
type index struct {
	file   *os.File
	name   string
	chunks atomic.Pointer[[][]byte] // replaced when it grows, under Database.tailLock

	mount Mount // nil before Database.Attach
	// failed is the first error of mount. What readers have mapped is not known after it, so nothing
	// may be published or checkpointed any more.
	failed atomic.Pointer[error]
}

// newIndex makes a wal-index of one chunk in an empty file.
func newIndex(f *os.File, name string) (*index, error) {
	x := &index{file: f, name: name}
	x.chunks.Store(new([][]byte))
	if err := x.grow(0); err != nil {
		return nil, errors.Join(err, x.close())
	}
	return x, nil
}

func (x *index) close() error {
	var errs []error
	for _, c := range *x.chunks.Load() {
		errs = append(errs, unix.Munmap(c))
	}
	return errors.Join(append(errs, x.file.Close())...)
}

// has reports whether region i is mapped.
func (x *index) has(i int) bool { return i < len(*x.chunks.Load())*chunkRegions }

// grow makes the wal-index long enough for region i. The bytes are allocated: a write to a hole
// could find the disk full, which ends the process with SIGBUS.
func (x *index) grow(i int) error {
	for !x.has(i) {
		chunks := *x.chunks.Load()
		off := int64(len(chunks)) * chunkSize
		if err := resize(x.mount, x.file, x.name, off+chunkSize); err != nil {
			return err
		}
		if err := allocate(x.file, off, chunkSize); err != nil {
			return fmt.Errorf("grow wal-index to %d bytes: %w", off+chunkSize, err)
		}
		c, err := unix.Mmap(int(x.file.Fd()), off, chunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("map wal-index: %w", err)
		}
		chunks = append(slices.Clip(chunks), c)
		x.chunks.Store(&chunks)
	}
	return nil
}

func allocate(f *os.File, off, n int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, off, n)
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = f.WriteAt(make([]byte, n), off)
	}
	return err
}

func (x *index) region(i int) []byte {
	return (*x.chunks.Load())[i/chunkRegions][i%chunkRegions*dbfile.RegionSize:][:dbfile.RegionSize]
}

// store has readers see n bytes at off as they are in the file.
func (x *index) store(off, n int) {
	if x.mount == nil || x.failed.Load() != nil {
		return
	}
	b := (*x.chunks.Load())[off/chunkSize][off%chunkSize:][:n]
	if err := x.mount.Store(x.name, int64(off), b); err != nil {
		x.fail(fmt.Errorf("have readers see %s as written: %w", x.name, err))
	}
}

func (x *index) fail(err error) {
	err = fmt.Errorf("%w; nothing more is applied, restart weir", err)
	x.failed.CompareAndSwap(nil, &err)
}

// err is why readers may not see the wal-index as it is, nil while they do.
func (x *index) err() error {
	if p := x.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// enter enters frames that are not yet published, the first of them being frame. Their regions are
// mapped.
func (x *index) enter(frame uint32, pgnos []uint32) {
	if len(pgnos) == 0 {
		return
	}
	for i, pgno := range pgnos {
		x.insert(frame+uint32(i), pgno)
	}
	last := frame + uint32(len(pgnos)) - 1
	for i := dbfile.RegionOf(frame); i <= dbfile.RegionOf(last); i++ {
		off := i * dbfile.RegionSize
		from := max(off, ckptInfoEnd)
		x.store(from, off+dbfile.RegionSize-from)
	}
}

func (x *index) insert(frame, pgno uint32) {
	dbfile.HashInsert(x.region(dbfile.RegionOf(frame)), frame, pgno)
}

// find returns the last frame of a page up to mxFrame, or 0.
func (x *index) find(pgno, mxFrame uint32) uint32 {
	for i := dbfile.RegionOf(mxFrame); i >= 0; i-- {
		if n := dbfile.HashFind(x.region(i), i, pgno, 1, mxFrame); n != 0 {
			return n
		}
	}
	return 0
}

// pgno returns the page number of a frame.
func (x *index) pgno(frame uint32) uint32 {
	return dbfile.FramePgno(x.region(dbfile.RegionOf(frame)), frame)
}

// publish writes both copies of the header, the second one first, as readers read them the other way round.
func (x *index) publish(h *dbfile.IndexHeader) {
	var b [dbfile.IndexHeaderSize]byte
	h.Encode(b[:])
	for _, at := range []int{dbfile.IndexHeaderSize, 0} {
		for i := 0; i < len(b); i += 4 {
			atomic.StoreUint32(x.word(at+i), *(*uint32)(unsafe.Pointer(&b[i])))
		}
		x.store(at, len(b))
	}
}

func (x *index) word(off int) *uint32 {
	return (*uint32)(unsafe.Pointer(&(*x.chunks.Load())[0][off]))
}

func (x *index) setWord(off int, v uint32) {
	atomic.StoreUint32(x.word(off), v)
	x.store(off, 4)
}

func (x *index) backfill() uint32 { return atomic.LoadUint32(x.word(dbfile.BackfillOffset)) }

func (x *index) setBackfill(n uint32) { x.setWord(dbfile.BackfillOffset, n) }

func (x *index) setAttempted(n uint32) { x.setWord(dbfile.BackfillAttemptedOffset, n) }

func (x *index) mark(i int) uint32 { return atomic.LoadUint32(x.word(dbfile.ReadMarkOffset + 4*i)) }

// setMark changes a read-mark. Its lock is held, or there are no readers yet.
func (x *index) setMark(i int, mxFrame uint32) {
	x.setWord(dbfile.ReadMarkOffset+4*i, mxFrame)
}

// resetMarks sets the read-marks for a WAL of one frame.
func (x *index) resetMarks() {
	x.setMark(firstMark, 1)
	for i := firstMark + 1; i <= lastMark; i++ {
		x.setMark(i, dbfile.ReadMarkNotUsed)
	}
	x.setMark(floorMark, 0)
}
