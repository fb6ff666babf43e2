package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The wal-index is an array of regions. The first starts with two copies of the header and the
// checkpoint information.
const (
	RegionSize      = 32768
	IndexHeaderSize = 48
	CkptInfoSize    = 40

	// Offsets of the checkpoint information in the first region.
	BackfillOffset          = 2 * IndexHeaderSize // nBackfill
	ReadMarkOffset          = BackfillOffset + 4  // ReadMarks marks of four bytes
	BackfillAttemptedOffset = 128                 // nBackfillAttempted, after the eight lock bytes

	indexHeaderEnd = 2*IndexHeaderSize + CkptInfoSize
)

// ReadMarkNotUsed is the value of a read-mark that no reader may take.
const ReadMarkNotUsed = 0xffffffff

var (
	// ErrIndexTorn says that the wal-index header is being written: the copies differ or the
	// checksum is wrong. Look again.
	ErrIndexTorn = errors.New("torn wal-index header")
	// ErrIndexInvalid says that there is no header in the wal-index, or none of a version we know.
	ErrIndexInvalid = errors.New("no valid wal-index header")
)

// IndexHeader is the header of the wal-index: the state of the WAL after its last published commit.
type IndexHeader struct {
	Change     uint32    // counts transactions
	BigEndian  bool      // as in WALHeader
	PageSize   uint32    // bytes
	MxFrame    uint32    // last valid frame
	Size       uint32    // pages of the database (nPage)
	FrameCksum [2]uint32 // running checksum after frame MxFrame
	Salt       [2]uint32 // as in WALHeader
}

// ParseIndexHeader reads both copies of the header from the start of the first region.
func ParseIndexHeader(b []byte) (IndexHeader, error) {
	if len(b) < 2*IndexHeaderSize {
		return IndexHeader{}, fmt.Errorf("parse wal-index header: %w: %d of %d", ErrShort, len(b), 2*IndexHeaderSize)
	}
	if string(b[:IndexHeaderSize]) != string(b[IndexHeaderSize:2*IndexHeaderSize]) {
		return IndexHeader{}, fmt.Errorf("parse wal-index header: %w: copies differ", ErrIndexTorn)
	}
	if b[12] == 0 {
		return IndexHeader{}, fmt.Errorf("parse wal-index header: %w: not initialised", ErrIndexInvalid)
	}
	if indexChecksum(b) != getNative(b[40:]) {
		return IndexHeader{}, fmt.Errorf("parse wal-index header: %w: wrong checksum", ErrIndexTorn)
	}
	if v := binary.NativeEndian.Uint32(b); v != walVersion {
		return IndexHeader{}, fmt.Errorf("parse wal-index header: %w: version %d", ErrIndexInvalid, v)
	}
	return decodeIndexHeader(b), nil
}

func decodeIndexHeader(b []byte) IndexHeader {
	size := uint32(binary.NativeEndian.Uint16(b[14:]))
	return IndexHeader{
		Change:     binary.NativeEndian.Uint32(b[8:]),
		BigEndian:  b[13] != 0,
		PageSize:   size&0xfe00 | size&1<<16, // 65536 does not fit the 16 bits and is written as 1
		MxFrame:    binary.NativeEndian.Uint32(b[16:]),
		Size:       binary.NativeEndian.Uint32(b[20:]),
		FrameCksum: getNative(b[24:]),
		Salt:       getPair(b[32:]),
	}
}

// Encode writes one copy of the header, with its checksum, to the first IndexHeaderSize bytes of dst.
func (h *IndexHeader) Encode(dst []byte) {
	clear(dst[:IndexHeaderSize])
	binary.NativeEndian.PutUint32(dst, walVersion)
	binary.NativeEndian.PutUint32(dst[8:], h.Change)
	dst[12] = 1 // isInit
	if h.BigEndian {
		dst[13] = 1
	}
	binary.NativeEndian.PutUint16(dst[14:], uint16(h.PageSize&0xfe00|h.PageSize>>16))
	binary.NativeEndian.PutUint32(dst[16:], h.MxFrame)
	binary.NativeEndian.PutUint32(dst[20:], h.Size)
	putNative(dst[24:], h.FrameCksum)
	putPair(dst[32:], h.Salt)
	putNative(dst[40:], indexChecksum(dst))
}

// CkptInfo is the checkpoint information after the headers of the wal-index. Checkpoints and
// readers change it in place, each word under a lock of its own; see ReadLock.
type CkptInfo struct {
	NBackfill          uint32 // frames that are in the database
	ReadMark           [ReadMarks]uint32
	NBackfillAttempted uint32 // frames that may be in the database
}

// ParseCkptInfo reads the checkpoint information from the first region.
func ParseCkptInfo(region []byte) (CkptInfo, error) {
	if len(region) < indexHeaderEnd {
		return CkptInfo{}, fmt.Errorf("parse checkpoint information: %w: %d of %d", ErrShort, len(region), indexHeaderEnd)
	}
	c := CkptInfo{
		NBackfill:          binary.NativeEndian.Uint32(region[BackfillOffset:]),
		NBackfillAttempted: binary.NativeEndian.Uint32(region[BackfillAttemptedOffset:]),
	}
	for i := range c.ReadMark {
		c.ReadMark[i] = binary.NativeEndian.Uint32(region[ReadMarkOffset+4*i:])
	}
	return c, nil
}

// Encode writes the checkpoint information into the first region.
func (c *CkptInfo) Encode(region []byte) {
	binary.NativeEndian.PutUint32(region[BackfillOffset:], c.NBackfill)
	for i, m := range c.ReadMark {
		binary.NativeEndian.PutUint32(region[ReadMarkOffset+4*i:], m)
	}
	binary.NativeEndian.PutUint32(region[BackfillAttemptedOffset:], c.NBackfillAttempted)
}

// indexChecksum sums a copy of the header up to its checksum, in the machine's byte order.
func indexChecksum(b []byte) [2]uint32 {
	return WALChecksum(nativeBigEndian, [2]uint32{}, b[:40])
}

var nativeBigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

func getNative(b []byte) [2]uint32 {
	return [2]uint32{binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:])}
}

func putNative(b []byte, p [2]uint32) {
	binary.NativeEndian.PutUint32(b, p[0])
	binary.NativeEndian.PutUint32(b[4:], p[1])
}
