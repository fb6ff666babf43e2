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
	r   io.ReaderAt
	h   WALHeader
	n   uint32 // last frame read
	sum [2]uint32
	buf []byte // one frame, header and page
}

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
	return &WALReader{r: r, h: h, n: n, sum: sum, buf: make([]byte, h.FrameSize())}
}

// Header returns the WAL's header.
func (r *WALReader) Header() WALHeader { return r.h }

// Frame returns the number of the last frame read.
func (r *WALReader) Frame() uint32 { return r.n }

// Sum returns the running checksum after the last frame read.
func (r *WALReader) Sum() [2]uint32 { return r.sum }

// Page returns the page of the last frame read. It is overwritten by the next call of Next.
func (r *WALReader) Page() []byte { return r.buf[FrameHeaderSize:] }

// Next reads the next frame, and its page into page unless that is nil. It returns io.EOF where the
// chain ends: the file is short, or the frame has other salts, or its checksum does not follow.
func (r *WALReader) Next(page []byte) (Frame, error) {
	n, err := r.r.ReadAt(r.buf, r.h.FrameOffset(r.n+1))
	if n < len(r.buf) {
		if err != nil && !errors.Is(err, io.EOF) {
			return Frame{}, fmt.Errorf("read WAL frame %d: %w", r.n+1, err)
		}
		return Frame{}, io.EOF
	}
	f, sum, ok := DecodeFrame(r.buf, &r.h, r.sum)
	if !ok {
		return Frame{}, io.EOF
	}
	r.n++
	r.sum = sum
	copy(page, r.buf[FrameHeaderSize:])
	return f, nil
}
