package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderSize is the length of the header at the start of page 1.
const HeaderSize = 100

// Page sizes are powers of two between these.
const (
	MinPageSize = 512
	MaxPageSize = 65536
)

// Offsets of the file format version numbers in page 1, and their values. Both are 2 for a database
// in WAL mode, 1 else.
const (
	WriteVersionOffset = 18
	ReadVersionOffset  = 19

	VersionRollback = 1
	VersionWAL      = 2
)

const magic = "SQLite format 3\x00"

var (
	// ErrShort says that there are fewer bytes than the format needs.
	ErrShort = errors.New("too few bytes")
	// ErrNotDatabase says that the bytes are not the start of an SQLite database.
	ErrNotDatabase = errors.New("not an SQLite database")
)

// Header is the part of the database header that replication looks at.
type Header struct {
	PageSize      uint32 // bytes
	WriteVersion  byte   // VersionRollback or VersionWAL
	ReadVersion   byte   // VersionRollback or VersionWAL
	ChangeCounter uint32 // changes with every transaction in rollback mode
	Size          uint32 // pages; only to be believed if SizeValid

	// VersionValidFor is the ChangeCounter of the transaction that last wrote Size.
	VersionValidFor uint32
}

// ParseHeader reads the header from the start of page 1.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("parse database header: %w: %d of %d", ErrShort, len(b), HeaderSize)
	}
	if string(b[:len(magic)]) != magic {
		return Header{}, fmt.Errorf("parse database header: %w: wrong magic", ErrNotDatabase)
	}
	h := Header{
		PageSize:        uint32(binary.BigEndian.Uint16(b[16:])),
		WriteVersion:    b[WriteVersionOffset],
		ReadVersion:     b[ReadVersionOffset],
		ChangeCounter:   binary.BigEndian.Uint32(b[24:]),
		Size:            binary.BigEndian.Uint32(b[28:]),
		VersionValidFor: binary.BigEndian.Uint32(b[92:]),
	}
	if h.PageSize == 1 { // 65536 does not fit the 16 bits
		h.PageSize = MaxPageSize
	}
	if !ValidPageSize(h.PageSize) {
		return Header{}, fmt.Errorf("parse database header: %w: page size %d", ErrNotDatabase, h.PageSize)
	}
	return h, nil
}

// SizeValid reports whether Size counts. It does not after a version of SQLite before 3.7.0 has
// written; then the size of the file does.
func (h Header) SizeValid() bool { return h.Size > 0 && h.ChangeCounter == h.VersionValidFor }

// WAL reports whether SQLite reads the database through a WAL.
func (h Header) WAL() bool { return h.ReadVersion == VersionWAL }

// ValidPageSize reports whether n is a page size that SQLite can have.
func ValidPageSize(n uint32) bool {
	return n >= MinPageSize && n <= MaxPageSize && n&(n-1) == 0
}
