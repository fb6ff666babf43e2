package apply

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"weir/fuse/internal/dbfile"
)

// walChunk is by how many bytes the WAL grows at a time. SQLite's readers, and recovery, take no notice
// of what is behind the frames: salts and checksums tell.
const walChunk = 1 << 20

// tailBuffer is how many bytes of frames are gathered before they are written.
const tailBuffer = 256 << 10

// tail appends frames to the WAL behind the published ones. Frames that are not published may be
// dropped and overwritten. Guarded by Database.tailLock.
//
// Invariant: n == base + len(pgnos), where base is the published mxFrame; buf ends with frame n if
// staged.
type tail struct {
	file  *os.File
	name  string
	size  int64 // of file, in bytes
	mount Mount // nil before Database.Attach
	hdr   dbfile.WALHeader

	base    uint32    // last published frame
	baseSum [2]uint32 // running checksum after it

	n     uint32    // last frame, staged or written
	sum   [2]uint32 // running checksum after the last frame but a staged one
	pgnos []uint32  // of the frames after base

	// buf holds the frames that are not written yet. The header of the last one is missing while it
	// is staged, because whether it is a commit frame is known only when the next one comes or
	// none.
	buf    []byte
	staged bool
	off    int64 // where buf belongs
}

// resume positions the tail behind frame n.
func (t *tail) resume(n uint32, sum [2]uint32) {
	t.base, t.baseSum = n, sum
	t.drop()
}

// drop forgets the frames after base.
func (t *tail) drop() {
	t.n, t.sum, t.staged = t.base, t.baseSum, false
	t.pgnos, t.buf = t.pgnos[:0], t.buf[:0]
	t.off = t.hdr.FrameOffset(t.n + 1)
}

// add appends a page. Page 1 says WAL mode in the WAL whatever the upstream's says, because this
// database is read through a WAL.
func (t *tail) add(pgno uint32, page []byte) error {
	t.seal(0)
	if len(t.buf) >= tailBuffer {
		if err := t.flush(); err != nil {
			return err
		}
	}
	var head [dbfile.FrameHeaderSize]byte
	t.buf = append(append(t.buf, head[:]...), page...)
	if pgno == 1 {
		setVersion(t.buf[len(t.buf)-len(page):], dbfile.VersionWAL)
	}
	t.staged = true
	t.n++
	t.pgnos = append(t.pgnos, pgno)
	return nil
}

// commit makes the last frame added the commit frame of a database of size pages, and writes all.
func (t *tail) commit(size uint32) error {
	if !t.staged {
		panic(fmt.Sprintf("apply: commit of %d pages without a frame after %d", size, t.n))
	}
	t.seal(size)
	return t.flush()
}

// seal completes the staged frame.
func (t *tail) seal(size uint32) {
	if !t.staged {
		return
	}
	frame := t.buf[len(t.buf)-int(t.hdr.FrameSize()):]
	f := dbfile.Frame{Pgno: t.pgnos[len(t.pgnos)-1], Size: size}
	t.sum = dbfile.EncodeFrameHeader(frame, &t.hdr, f, t.sum, frame[dbfile.FrameHeaderSize:])
	t.staged = false
}

func (t *tail) flush() error {
	if end := t.off + int64(len(t.buf)); end > t.size {
		if err := t.resize(end); err != nil {
			return err
		}
	}
	if _, err := t.file.WriteAt(t.buf, t.off); err != nil {
		return fmt.Errorf("append to WAL at %d: %w", t.off, err)
	}
	t.off += int64(len(t.buf))
	t.buf = t.buf[:0]
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
