package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/superfly/ltx"
)

// Pos is a position: a TXID and the rolling checksum of the database after it.
// The zero Pos is the position before the first transaction.
type Pos = ltx.Pos

// TXID numbers a database's transactions from 1.
type TXID = ltx.TXID

// Checksum is the sum of a page, or of a whole database.
type Checksum = ltx.Checksum

// Sums is the table of page checksums of one database state. It keeps their
// rolling checksum, which is what a position holds. It is not safe for
// concurrent use.
type Sums struct {
	pageSize uint32
	lock     uint32 // the page that holds SQLite's lock bytes and has no content
	pages    []Checksum
	total    Checksum // xor of pages; the flag bit means nothing here
}

// NewSums returns the table of an empty database. The page size may be 0 while
// it is not known, where no page can be set.
func NewSums(pageSize uint32) *Sums {
	s := &Sums{pageSize: pageSize}
	if pageSize > 0 {
		s.lock = ltx.LockPgno(pageSize)
	}
	return s
}

// PageSize returns the page size in bytes.
func (s *Sums) PageSize() uint32 { return s.pageSize }

// Len returns the database's size in pages.
func (s *Sums) Len() uint32 { return uint32(len(s.pages)) }

// Page returns the checksum of a page, 0 where there is none.
func (s *Sums) Page(pgno uint32) Checksum {
	if pgno == 0 || pgno > s.Len() {
		return 0
	}
	return s.pages[pgno-1]
}

// Set notes a page's checksum, and grows the database to it. The lock page is
// ignored.
func (s *Sums) Set(pgno uint32, sum Checksum) {
	if pgno == 0 || s.pageSize == 0 {
		panic(fmt.Sprintf("stream: set checksum of page %d with page size %d", pgno, s.pageSize))
	}
	if pgno == s.lock {
		return
	}
	if n := int(pgno) - len(s.pages); n > 0 {
		s.pages = slices.Grow(s.pages, n)[:pgno]
	}
	s.total ^= s.pages[pgno-1] ^ sum
	s.pages[pgno-1] = sum
}

// Truncate cuts the database to n pages; it does not grow it.
func (s *Sums) Truncate(n uint32) {
	if n >= s.Len() {
		return
	}
	for i, sum := range s.pages[n:] {
		s.total ^= sum
		s.pages[int(n)+i] = 0 // Set grows into zeroed room
	}
	s.pages = s.pages[:n]
}

// Total returns the rolling checksum.
func (s *Sums) Total() Checksum { return ltx.ChecksumFlag | s.total }

// Clone returns a copy.
func (s *Sums) Clone() *Sums {
	c := *s
	c.pages = slices.Clone(s.pages)
	return &c
}

// A table is written as
//
//	"WSUM"          magic
//	u32             version, 1
//	u32             page size in bytes, 0 only where there are no pages
//	u32             number of pages
//	u64 for each    page checksum; 0 for the lock page or one that is not known
//	u32             CRC-32C of all before
//
// all big-endian.
const (
	sumsMagic      = "WSUM"
	sumsVersion    = 1
	sumsHeaderSize = 16
	sumsChunk      = 4096 // checksums written or read at a time
)

// WriteTo writes the table for [ReadSums].
func (s *Sums) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, &sumsReader{s: s}) }

// sumsReader encodes a table as it is read.
type sumsReader struct {
	s     *Sums
	pages int // encoded
	crc   uint32
	room  []byte
	buf   []byte // of room: encoded and not yet read
	stage int    // 0: nothing encoded, 1: header, 2: all
}

func (r *sumsReader) Read(p []byte) (int, error) {
	if len(r.buf) == 0 {
		if r.stage == 2 {
			return 0, io.EOF
		}
		r.encode()
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// encode fills buf with the next part.
func (r *sumsReader) encode() {
	b := r.room[:0]
	if r.stage == 0 {
		b = append(b, sumsMagic...)
		b = binary.BigEndian.AppendUint32(b, sumsVersion)
		b = binary.BigEndian.AppendUint32(b, r.s.pageSize)
		b = binary.BigEndian.AppendUint32(b, r.s.Len())
		r.stage = 1
	}
	rest := r.s.pages[r.pages:]
	rest = rest[:min(len(rest), sumsChunk)]
	for _, sum := range rest {
		b = binary.BigEndian.AppendUint64(b, uint64(sum))
	}
	r.pages += len(rest)
	r.crc = crcUpdate(r.crc, b)
	if r.pages == len(r.s.pages) {
		b = binary.BigEndian.AppendUint32(b, r.crc)
		r.stage = 2
	}
	r.room, r.buf = b, b
}

// encodedLen is how many bytes sumsReader yields.
func (s *Sums) encodedLen() int64 { return sumsHeaderSize + 8*int64(len(s.pages)) + 4 }

// ReadSums reads what WriteTo wrote and no byte more. A table of more than
// maxPages pages is refused; memory is taken as the bytes come, not by the
// number that the header claims. Damage is [ErrCorrupt].
func ReadSums(r io.Reader, maxPages uint32) (*Sums, error) {
	return readSums(r, maxPages, maxPages)
}

// readSums keeps only the first keep pages.
func readSums(r io.Reader, maxPages, keep uint32) (*Sums, error) {
	b := make([]byte, sumsHeaderSize, sumsChunk*8)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read page checksums: %w", short(err))
	}
	s, n, err := parseSumsHeader(b, maxPages)
	if err != nil {
		return nil, err
	}
	crc, chunk := crcUpdate(0, b), b[:0]
	for pgno := uint32(1); n > 0; {
		b = chunk[:8*min(n, sumsChunk)]
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, fmt.Errorf("read page checksums from page %d: %w", pgno, short(err))
		}
		crc = crcUpdate(crc, b)
		n -= uint32(len(b) / 8)
		for ; len(b) > 0; b, pgno = b[8:], pgno+1 {
			sum := Checksum(binary.BigEndian.Uint64(b))
			if sum != 0 && (sum&ltx.ChecksumFlag == 0 || pgno == s.lock) {
				return nil, fmt.Errorf("%w: page %d cannot have checksum %s", ErrCorrupt, pgno, sum)
			}
			if pgno <= keep {
				s.pages = append(s.pages, sum)
				s.total ^= sum
			}
		}
	}
	b = chunk[:4]
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read page checksums: %w", short(err))
	}
	if got := binary.BigEndian.Uint32(b); got != crc {
		return nil, fmt.Errorf("%w: page checksums have CRC %08x, want %08x", ErrCorrupt, got, crc)
	}
	return s, nil
}

func parseSumsHeader(b []byte, maxPages uint32) (*Sums, uint32, error) {
	version, pageSize, n := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	switch {
	case !bytes.HasPrefix(b, []byte(sumsMagic)):
		return nil, 0, fmt.Errorf("%w: not page checksums", ErrCorrupt)
	case version != sumsVersion:
		return nil, 0, fmt.Errorf("%w: page checksums of version %d, want %d", ErrCorrupt, version, sumsVersion)
	case pageSize == 0 && n > 0, pageSize > 0 && !ltx.IsValidPageSize(pageSize):
		return nil, 0, fmt.Errorf("%w: page checksums with page size %d", ErrCorrupt, pageSize)
	case n > maxPages:
		return nil, 0, fmt.Errorf("%w: page checksums of %d pages, at most %d allowed", ErrCorrupt, n, maxPages)
	}
	return NewSums(pageSize), n, nil
}
