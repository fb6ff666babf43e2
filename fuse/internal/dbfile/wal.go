package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Lengths in a WAL, bytes.
const (
	WALHeaderSize   = 32
	FrameHeaderSize = 24
)

const (
	walMagic   = 0x377f0682 // the lowest bit says that checksums sum big-endian words
	walVersion = 3007000
)

// ErrNotWAL says that the bytes are not a valid WAL header. SQLite takes such a WAL for an empty one.
var ErrNotWAL = errors.New("not a WAL")

// WALHeader is the header of a WAL. Each restart of the WAL writes a new one, with other salts.
type WALHeader struct {
	BigEndian     bool      // checksums sum big-endian words
	PageSize      uint32    // bytes
	CheckpointSeq uint32    // checkpoint sequence: counts restarts
	Salt          [2]uint32 // salt-1 counts restarts, salt-2 is random
	Cksum         [2]uint32 // of the header; the running checksum of the frames starts from it
}

// ParseWALHeader reads a WAL header and verifies its checksum.
func ParseWALHeader(b []byte) (WALHeader, error) {
	if len(b) < WALHeaderSize {
		return WALHeader{}, fmt.Errorf("parse WAL header: %w: %d of %d", ErrShort, len(b), WALHeaderSize)
	}
	m := binary.BigEndian.Uint32(b)
	if m&^1 != walMagic {
		return WALHeader{}, fmt.Errorf("parse WAL header: %w: magic %#x", ErrNotWAL, m)
	}
	if v := binary.BigEndian.Uint32(b[4:]); v != walVersion {
		return WALHeader{}, fmt.Errorf("parse WAL header: %w: version %d", ErrNotWAL, v)
	}
	h := WALHeader{
		BigEndian:     m&1 != 0,
		PageSize:      binary.BigEndian.Uint32(b[8:]),
		CheckpointSeq: binary.BigEndian.Uint32(b[12:]),
		Salt:          getPair(b[16:]),
		Cksum:         getPair(b[24:]),
	}
	if !ValidPageSize(h.PageSize) {
		return WALHeader{}, fmt.Errorf("parse WAL header: %w: page size %d", ErrNotWAL, h.PageSize)
	}
	if got := WALChecksum(h.BigEndian, [2]uint32{}, b[:24]); got != h.Cksum {
		return WALHeader{}, fmt.Errorf("parse WAL header: %w: checksum %08x, want %08x", ErrNotWAL, h.Cksum, got)
	}
	return h, nil
}

// Encode writes the header to the first WALHeaderSize bytes of dst and sets h.Cksum.
func (h *WALHeader) Encode(dst []byte) {
	m := uint32(walMagic)
	if h.BigEndian {
		m |= 1
	}
	binary.BigEndian.PutUint32(dst, m)
	binary.BigEndian.PutUint32(dst[4:], walVersion)
	binary.BigEndian.PutUint32(dst[8:], h.PageSize)
	binary.BigEndian.PutUint32(dst[12:], h.CheckpointSeq)
	putPair(dst[16:], h.Salt)
	h.Cksum = WALChecksum(h.BigEndian, [2]uint32{}, dst[:24])
	putPair(dst[24:], h.Cksum)
}

// FrameSize is the length of a frame with its header, bytes.
func (h *WALHeader) FrameSize() int64 { return int64(h.PageSize) + FrameHeaderSize }

// FrameOffset is where frame n starts in the file. The first frame is 1; the offset of frame n+1 is
// the length of a WAL of n frames.
func (h *WALHeader) FrameOffset(n uint32) int64 { return WALHeaderSize + (int64(n)-1)*h.FrameSize() }

// Frame is what a frame header says of its page.
type Frame struct {
	Pgno uint32
	Size uint32 // commit frame: pages of the database after the commit; else 0
}

// Commit reports whether the frame ends a transaction.
func (f Frame) Commit() bool { return f.Size != 0 }

// EncodeFrameHeader writes the header of a frame to the first FrameHeaderSize bytes of dst. sum is
// the running checksum before the frame, the result the one after it.
func EncodeFrameHeader(dst []byte, h *WALHeader, f Frame, sum [2]uint32, page []byte) [2]uint32 {
	binary.BigEndian.PutUint32(dst, f.Pgno)
	binary.BigEndian.PutUint32(dst[4:], f.Size)
	putPair(dst[8:], h.Salt)
	sum = WALChecksum(h.BigEndian, sum, dst[:8])
	sum = WALChecksum(h.BigEndian, sum, page)
	putPair(dst[16:], sum)
	return sum
}

// DecodeFrame reads a whole frame, header and page. sum is the running checksum before it, next the
// one after it. It is not ok if the frame has other salts than h or does not continue the chain of
// checksums.
func DecodeFrame(frame []byte, h *WALHeader, sum [2]uint32) (f Frame, next [2]uint32, ok bool) {
	if int64(len(frame)) != h.FrameSize() || getPair(frame[8:]) != h.Salt {
		return Frame{}, sum, false
	}
	f.Pgno = binary.BigEndian.Uint32(frame)
	f.Size = binary.BigEndian.Uint32(frame[4:])
	next = WALChecksum(h.BigEndian, sum, frame[:8])
	next = WALChecksum(h.BigEndian, next, frame[FrameHeaderSize:])
	if f.Pgno == 0 || getPair(frame[16:]) != next {
		return Frame{}, sum, false
	}
	return f, next, true
}

// FrameSum reads the running checksum from a frame's header.
func FrameSum(head []byte) [2]uint32 { return getPair(head[16:FrameHeaderSize]) }

// WALChecksum continues the checksum sum over b, whose length is a multiple of 8.
func WALChecksum(bigEndian bool, sum [2]uint32, b []byte) [2]uint32 {
	if len(b)%8 != 0 {
		panic(fmt.Sprintf("dbfile: WAL checksum of %d bytes, not a multiple of 8", len(b)))
	}
	s1, s2 := sum[0], sum[1]
	if bigEndian {
		for ; len(b) >= 8; b = b[8:] {
			v := binary.BigEndian.Uint64(b)
			s1 += uint32(v>>32) + s2
			s2 += uint32(v) + s1
		}
		return [2]uint32{s1, s2}
	}
	for ; len(b) >= 8; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		s1 += uint32(v) + s2
		s2 += uint32(v>>32) + s1
	}
	return [2]uint32{s1, s2}
}

func getPair(b []byte) [2]uint32 {
	return [2]uint32{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func putPair(b []byte, p [2]uint32) {
	binary.BigEndian.PutUint32(b, p[0])
	binary.BigEndian.PutUint32(b[4:], p[1])
}
