package apply

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"weir/fuse/internal/dbfile"
)

// walChunk is by how many bytes the WAL grows at a time. SQLite's readers, and recovery, take no notice
// of what is behind the frames: salts and checksums tell.
const walChunk = 1 << 20

const (
	// tailBuffer is how many bytes of frames are gathered before they are written.
	tailBuffer = 256 << 10

	// smallTail is how many a replica keeps room for from one transaction to the next.
	smallTail = 16 << 10
)

// tailBuffers are for frames that do not fit in smallTail.
var tailBuffers = sync.Pool{New: func() any { return new([tailBuffer]byte) }}

// tail appends frames to the WAL behind the published ones. Frames that are not published may be
// dropped and overwritten. Guarded by Database.tailLock.
//
// Invariant: n == base + len(pgnos), where base is the published mxFrame; buf ends with the frames
// that at has, in the order of pgnos, and the last of them is frame n.
type tail struct {
	file  *os.File
	name  string
	size  int64 // of file, in bytes
	mount Mount // nil before Database.Attach
	hdr   dbfile.WALHeader

	base    uint32    // last published frame
	baseSum [2]uint32 // running checksum after it

	n     uint32    // last frame, in buf or written
	sum   [2]uint32 // running checksum after the last frame that is written
	pgnos []uint32  // of the frames after base

	// buf holds the frames that are not written yet. Their headers are missing: which one is the commit
	// frame is known only at the end, and a page that comes again takes the place of its image before.
	buf []byte
	at  map[uint32]int // by page, where its frame is in buf
	off int64          // where buf belongs
}

// resume positions the tail behind frame n.
func (t *tail) resume(n uint32, sum [2]uint32) {
	t.base, t.baseSum = n, sum
	t.drop()
}

// drop forgets the frames after base.
func (t *tail) drop() {
	t.n, t.sum = t.base, t.baseSum
	t.pgnos = t.pgnos[:0]
	t.empty()
	t.off = t.hdr.FrameOffset(t.n + 1)
}

// empty forgets what is in buf.
func (t *tail) empty() {
	if cap(t.buf) == tailBuffer {
		tailBuffers.Put((*[tailBuffer]byte)(t.buf[:tailBuffer]))
		t.buf = nil
	}
	t.buf = t.buf[:0]
	clear(t.at)
}

// room is how many frames can be added before some are written.
func (t *tail) room() int { return (tailBuffer - len(t.buf)) / int(t.hdr.FrameSize()) }

// add appends a page. Page 1 says WAL mode in the WAL whatever the upstream's says, because this
// database is read through a WAL.
func (t *tail) add(pgno uint32, page []byte) error {
	at, ok := t.at[pgno]
	if !ok {
		if t.room() == 0 {
			if err := t.flush(0); err != nil {
				return err
			}
		}
		at = t.append(pgno)
	}
	to := t.buf[at+dbfile.FrameHeaderSize:][:len(page)]
	copy(to, page)
	if pgno == 1 {
		setVersion(to, dbfile.VersionWAL)
	}
	return nil
}

// append makes room for a frame.
func (t *tail) append(pgno uint32) (at int) {
	at = len(t.buf)
	end := at + int(t.hdr.FrameSize())
	if end > cap(t.buf) && end > smallTail {
		t.buf = append(tailBuffers.Get().(*[tailBuffer]byte)[:0], t.buf...)
	}
	t.buf = slices.Grow(t.buf, end-at)[:end]
	if t.at == nil {
		t.at = make(map[uint32]int)
	}
	t.at[pgno] = at
	t.n++
	t.pgnos = append(t.pgnos, pgno)
	return at
}

// commit makes the last frame added the commit frame of a database of size pages, and writes all.
func (t *tail) commit(size uint32) error {
	if len(t.at) == 0 {
		panic(fmt.Sprintf("apply: commit of %d pages without a frame after %d", size, t.n))
	}
	return t.flush(size)
}

// seal completes the frames in buf, the last one as a commit frame of size pages, where that is not 0.
func (t *tail) seal(size uint32) {
	pgnos := t.pgnos[len(t.pgnos)-len(t.at):]
	n := int(t.hdr.FrameSize())
	frames := t.buf[len(t.buf)-n*len(pgnos):]
	for i, pgno := range pgnos {
		frame := frames[i*n:][:n]
		f := dbfile.Frame{Pgno: pgno}
		if i == len(pgnos)-1 {
			f.Size = size
		}
		t.sum = dbfile.EncodeFrameHeader(frame, &t.hdr, f, t.sum, frame[dbfile.FrameHeaderSize:])
	}
}

// flush writes the frames in buf.
func (t *tail) flush(size uint32) error {
	t.seal(size)
	if end := t.off + int64(len(t.buf)); end > t.size {
		if err := t.resize(end); err != nil {
			return err
		}
	}
	if _, err := t.file.WriteAt(t.buf, t.off); err != nil {
		return fmt.Errorf("append to WAL at %d: %w", t.off, err)
	}
	t.off += int64(len(t.buf))
	t.empty()
	return nil
}

// restart begins a WAL anew at the start of the file, with page1 as its first and only frame, a
// commit of size pages. The caller syncs it before it appends: frames of the old WAL must not be
// overwritten while its header could come back.
func (t *tail) restart(page1 []byte, size uint32) error {
	t.hdr.PageSize = uint32(len(page1))
	t.hdr.CheckpointSeq++
	t.hdr.Salt = [2]uint32{t.hdr.Salt[0] + 1, random()}
	head := make([]byte, dbfile.WALHeaderSize)
	t.hdr.Encode(head)
	t.resume(0, t.hdr.Cksum)
	t.buf, t.off = append(t.buf, head...), 0
	if err := t.add(1, page1); err != nil {
		return err
	}
	return t.commit(size)
}

// resize gives the file as many chunks as n bytes need.
func (t *tail) resize(n int64) error {
	size := (n + walChunk - 1) / walChunk * walChunk
	if size == t.size {
		return nil
	}
	err := resize(t.mount, t.file, t.name, size)
	if err == nil {
		t.size = size
	}
	return err
}

// trim gives back the room behind the frames, if the file is longer than limit frames.
func (t *tail) trim(limit uint32) error {
	if t.size <= t.hdr.FrameOffset(limit+1) {
		return nil
	}
	return t.resize(t.off)
}

// readPage reads the page of a written frame.
func (t *tail) readPage(frame uint32, page []byte) error {
	return readFull(t.file, page, t.hdr.FrameOffset(frame)+dbfile.FrameHeaderSize)
}

// readFull reads all of b; what lies beyond the end of the file is zeros, as SQLite has it.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n < len(b) && err != io.EOF {
		return fmt.Errorf("read at %d: %w", off, err)
	}
	clear(b[n:])
	return nil
}

func random() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:])
}

// setVersion sets both file format versions in page 1.
func setVersion(page1 []byte, v byte) {
	page1[dbfile.WriteVersionOffset], page1[dbfile.ReadVersionOffset] = v, v
}
