package stream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/superfly/ltx"
)

// A segment file of the log is named log- and the TXID that it starts after.
// It begins with
//
//	"WEIRLOG\n"   magic
//	u32           version, 1
//	32 bytes      identity of the database, hex
//	u64 u64       base: the position before the first record
//	u32           CRC-32C of all before
//
// and goes on with txn records. All numbers are big-endian.
const (
	segmentMagic      = "WEIRLOG\n"
	segmentVersion    = 1
	segmentHeaderSize = 8 + 4 + idLen + posSize + 4
	segmentPrefix     = "log-"

	// txnMinSize is an LTX file without pages: header, end of pages, end and
	// size of the index, trailer.
	txnMinSize = ltx.HeaderSize + ltx.PageHeaderSize + 1 + 8 + ltx.TrailerSize
)

// segment is a segment file. Log.mu guards its fields. Bytes before size do
// not change while a record there is in the log; the ones after belong to the
// transaction being written.
type segment struct {
	name    string
	id      string
	base    Pos
	records []entry
	size    int64     // bytes, up to the end of the last record
	newest  time.Time // of the last record
	dirty   bool      // has bytes that were not synced

	file *os.File // open while refs > 0
	refs int
}

// entry is a record; its TXID follows from its place.
type entry struct {
	offset int64
	post   Checksum
}

func segmentName(base Pos) string { return segmentPrefix + base.TXID.String() }

func isSegmentName(name string) bool {
	txid, ok := strings.CutPrefix(name, segmentPrefix)
	_, err := strconv.ParseUint(txid, 16, 64)
	return ok && len(txid) == 16 && err == nil
}

// last returns the position after the last record.
func (s *segment) last() Pos {
	return s.at(s.base.TXID + TXID(len(s.records)))
}

// at returns the position with the given TXID, which is base's or a record's.
func (s *segment) at(txid TXID) Pos {
	if txid == s.base.TXID {
		return s.base
	}
	return Pos{TXID: txid, PostApplyChecksum: s.records[txid-s.base.TXID-1].post}
}

// find returns the newest position with the given checksum.
func (s *segment) find(sum Checksum) (Pos, bool) {
	for i := len(s.records) - 1; i >= 0; i-- {
		if s.records[i].post == sum {
			return s.at(s.base.TXID + TXID(i+1)), true
		}
	}
	return s.base, s.base.PostApplyChecksum == sum
}

// extent returns where the record that leads to txid begins and ends.
func (s *segment) extent(txid TXID) (from, to int64) {
	i := int(txid - s.base.TXID - 1)
	if i+1 < len(s.records) {
		return s.records[i].offset, s.records[i+1].offset
	}
	return s.records[i].offset, s.size
}

// end returns where the record that leads to txid, or the header, ends.
func (s *segment) end(txid TXID) int64 {
	if i := int(txid - s.base.TXID); i < len(s.records) {
		return s.records[i].offset
	}
	return s.size
}

// acquire opens the file, or keeps it open, until release.
func (s *segment) acquire(dir *os.Root) (*os.File, error) {
	if s.refs == 0 {
		f, err := dir.OpenFile(s.name, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		s.file = f
	}
	s.refs++
	return s.file, nil
}

func (s *segment) release() error {
	if s.refs--; s.refs > 0 {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}

func encodeSegmentHeader(id string, base Pos) []byte {
	b := binary.BigEndian.AppendUint32([]byte(segmentMagic), segmentVersion)
	b = appendPos(append(b, id...), base)
	return binary.BigEndian.AppendUint32(b, crcUpdate(0, b))
}

func parseSegmentHeader(b []byte) (id string, base Pos, err error) {
	sum := b[segmentHeaderSize-4 : segmentHeaderSize]
	if string(b[:8]) != segmentMagic {
		return "", Pos{}, fmt.Errorf("%w: not a log segment", ErrCorrupt)
	}
	if got, want := binary.BigEndian.Uint32(sum), crcUpdate(0, b[:segmentHeaderSize-4]); got != want {
		return "", Pos{}, fmt.Errorf("%w: segment header has CRC %08x, want %08x", ErrCorrupt, got, want)
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != segmentVersion {
		return "", Pos{}, fmt.Errorf("%w: segment of version %d, want %d", ErrCorrupt, v, segmentVersion)
	}
	id = string(b[12 : 12+idLen])
	if !validID(id) {
		return "", Pos{}, fmt.Errorf("%w: segment with identity %q", ErrCorrupt, id)
	}
	return id, parsePos(b[12+idLen:]), nil
}

// scanSegment reads a segment of size bytes and verifies each record. Damage
// ends the segment before it: s is then what comes before, and err says what is
// wrong; s is nil where the header itself is damaged.
func scanSegment(r io.Reader, size int64) (s *segment, err error) {
	b := make([]byte, segmentHeaderSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read segment header: %w", short(err))
	}
	s = &segment{size: segmentHeaderSize}
	if s.id, s.base, err = parseSegmentHeader(b); err != nil {
		return nil, err
	}
	sc := segmentScanner{r: bufio.NewReaderSize(r, 1<<16), buf: make([]byte, 1<<15), left: size - s.size, pos: s.base}
	for sc.left > 0 {
		n, err := sc.next()
		if err != nil {
			return s, fmt.Errorf("record at %d: %w", s.size, err)
		}
		s.records = append(s.records, entry{s.size, sc.pos.PostApplyChecksum})
		s.newest = time.UnixMilli(sc.h.Timestamp)
		s.size += n
	}
	return s, nil
}

// segmentScanner walks over a segment's records without decoding their pages.
type segmentScanner struct {
	r    *bufio.Reader
	buf  []byte
	left int64 // bytes of the file
	pos  Pos   // after the record read last
	h    ltx.Header
}

// next verifies a record and returns its size with all that frames it.
func (s *segmentScanner) next() (int64, error) {
	var b [recordHeaderSize]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		return 0, short(err)
	}
	t, n, err := parseHeader(b[:])
	switch {
	case err != nil:
		return 0, err
	case t != recordTxn:
		return 0, fmt.Errorf("%w: %s record in the log", ErrCorrupt, t)
	case n < txnMinSize:
		return 0, fmt.Errorf("%w: transaction of %d bytes", ErrCorrupt, n)
	case n > s.left-recordOverhead:
		return 0, fmt.Errorf("transaction of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	post, err := s.payload(n)
	if err != nil {
		return 0, err
	}
	s.pos = Pos{TXID: s.h.MaxTXID, PostApplyChecksum: post}
	s.left -= n + recordOverhead
	return n + recordOverhead, nil
}

func (s *segmentScanner) payload(n int64) (post Checksum, err error) {
	r := recordReader{r: s.r, left: n, open: true}
	head := s.buf[:ltx.HeaderSize]
	if _, err := io.ReadFull(&r, head); err != nil {
		return 0, short(err)
	}
	if err := parseTxnHeader(head, &s.h); err != nil {
		return 0, err
	}
	if err := checkNext(s.h, s.pos); err != nil {
		return 0, err
	}
	for left := n - ltx.HeaderSize - ltx.TrailerSize; left > 0; {
		b := s.buf[:min(left, int64(len(s.buf)))]
		if _, err := io.ReadFull(&r, b); err != nil {
			return 0, short(err)
		}
		left -= int64(len(b))
	}
	var trailer [ltx.TrailerSize]byte
	if _, err := io.ReadFull(&r, trailer[:]); err != nil {
		return 0, short(err)
	}
	return Checksum(binary.BigEndian.Uint64(trailer[:])), r.end()
}

// checkNext checks that a transaction follows a position.
func checkNext(h ltx.Header, p Pos) error {
	if pre := h.PreApplyPos(); pre != p {
		return fmt.Errorf("transaction %s follows %s, the log is at %s: %w", h.MinTXID, pre, p, ErrPosMismatch)
	}
	return nil
}

// segmentOf returns the segment that has the record leading to txid.
func segmentOf(segs []*segment, txid TXID) *segment {
	i := sort.Search(len(segs), func(i int) bool { return segs[i].base.TXID >= txid })
	return segs[i-1]
}

var (
	// ErrPageSize says that a transaction has another page size than the
	// database before it. A replica needs all pages anew.
	ErrPageSize = errors.New("another page size")
	// ErrPosMismatch says that a transaction does not follow the position that
	// it was to be applied to, or did not lead to the one it should.
	ErrPosMismatch = errors.New("position mismatch")

	// ErrNotInLog says that the log cannot lead on from a position: it is too
	// old, or of another history. The follower needs a delta.
	ErrNotInLog = errors.New("position is not in the log")

	// ErrClosed says that a log or server was closed.
	ErrClosed = errors.New("closed")

	// ErrBusy says that a transaction is being written to the log.
	ErrBusy = errors.New("a transaction is being written")
)
