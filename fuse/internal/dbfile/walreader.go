package dbfile

import (
	"errors"
	"fmt"
	"io"
)

// WALReader reads the frames of one generation of a WAL, from a frame on. It moves only over valid
// frames, so that after io.EOF it can be asked again when the file has grown.
//
// Invariant: sum is the running checksum after frame n.
type WALReader struct {
	r    io.ReaderAt
	h    WALHeader
	n    uint32 // last frame read
	sum  [2]uint32
	last uint32 // frames up to this one are read together

	buf  []byte // whole frames, header and page
	at   uint32 // number of the first frame in buf
	have uint32 // frames in buf
}

// readAhead bounds what is read together, in bytes.
const readAhead = 128 << 10

// OpenWAL reads the header of a WAL and returns a reader of its frames from the first. A WAL too short to
// have a header gives ErrShort, one with a header that SQLite would not take gives ErrNotWAL.
func OpenWAL(r io.ReaderAt) (*WALReader, error) {
	var b [WALHeaderSize]byte
	n, err := r.ReadAt(b[:], 0)
	if n < len(b) && err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read WAL header: %w", err)
	}
	h, err := ParseWALHeader(b[:n])
	if err != nil {
		return nil, err
	}
	return NewWALReader(r, h, 0, h.Cksum), nil
}

// NewWALReader returns a reader that starts after frame n, sum being the running checksum there;
// for n of 0 that is h.Cksum.
func NewWALReader(r io.ReaderAt, h WALHeader, n uint32, sum [2]uint32) *WALReader {
	return &WALReader{r: r, h: h, n: n, sum: sum}
}

// Reset makes r a reader that starts after frame n of the WAL with header h, as NewWALReader does. Frames up to last
// are whole and stay as they are while r is used: it reads several at once and keeps them for Image.
func (r *WALReader) Reset(src io.ReaderAt, h WALHeader, n uint32, sum [2]uint32, last uint32) {
	*r = WALReader{r: src, h: h, n: n, sum: sum, last: last, buf: r.buf}
}

// Header returns the WAL's header.
func (r *WALReader) Header() WALHeader { return r.h }

// Frame returns the number of the last frame read.
func (r *WALReader) Frame() uint32 { return r.n }

// Sum returns the running checksum after the last frame read.
func (r *WALReader) Sum() [2]uint32 { return r.sum }

// Page returns the page of the last frame read. It is overwritten by the next call of Next.
func (r *WALReader) Page() []byte { page, _ := r.Image(r.n); return page }

// Image returns the page of frame n if it is among those that are kept, until the next call of Next.
func (r *WALReader) Image(n uint32) (page []byte, ok bool) {
	if n < r.at || n-r.at >= r.have {
		return nil, false
	}
	return r.frame(n)[FrameHeaderSize:], true
}

// frame is frame n, which is in buf.
func (r *WALReader) frame(n uint32) []byte {
	size := r.h.FrameSize()
	return r.buf[int64(n-r.at)*size:][:size]
}

// Next reads the next frame, and its page into page unless that is nil. It returns io.EOF where the
// chain ends: the file is short, or the frame has other salts, or its checksum does not follow.
func (r *WALReader) Next(page []byte) (Frame, error) {
	n := r.n + 1
	if _, ok := r.Image(n); !ok {
		if err := r.fill(n); err != nil {
			return Frame{}, err
		}
	}
	f, sum, ok := DecodeFrame(r.frame(n), &r.h, r.sum)
	if !ok {
		r.have = 0 // it may be written yet
		return Frame{}, io.EOF
	}
	r.n, r.sum = n, sum
	copy(page, r.frame(n)[FrameHeaderSize:])
	return f, nil
}

// fill reads frames from n on into buf: one, or as many as are whole.
func (r *WALReader) fill(n uint32) error {
	size, count := r.h.FrameSize(), int64(1)
	if n <= r.last {
		count = max(1, min(int64(r.last-n)+1, readAhead/size))
	}
	if r.have = 0; int64(len(r.buf)) < count*size {
		r.buf = make([]byte, count*size)
	}
	got, err := r.r.ReadAt(r.buf[:count*size], r.h.FrameOffset(n))
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read WAL frame %d: %w", n, err)
	}
	r.at, r.have = n, uint32(int64(got)/size)
	if r.have == 0 {
		return io.EOF
	}
	return nil
}
