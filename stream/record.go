package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"
)

// A record is the unit of the log's files and of the HTTP stream, and is the
// same bytes in both. All numbers are big-endian.
//
//	type      4 bytes
//	length    u64, of the payload
//	CRC-32C   u32, of type and length
//	payload   length bytes
//	CRC-32C   u32, of the payload
//
// The log holds only txn records. A stream is
//
//	helo  (page* txn* done)  txn*
//
// where the middle is there only if helo announces pages, and beat may stand
// between any two records.
const (
	// recordHello opens a stream.
	//
	//	u32       version, 1
	//	u32       what follows: 0 transactions, 1 the pages of a snapshot or delta
	//	u32       page size in bytes, 0 where there is no database yet
	//	u32       database size in pages
	//	u64 u64   position: the one asked for, or the one at the snapshot's start
	//	32 bytes  identity of the database, hex
	recordHello recordType = "helo"

	// recordPage is a page of a snapshot or delta.
	//
	//	u32       page number
	//	rest      the page: raw where as long as a page, else an LZ4 block
	recordPage recordType = "page"

	// recordDone ends a snapshot or delta: with the transactions before it, the
	// database is at this position.
	//
	//	u64 u64   position
	recordDone recordType = "done"

	// recordTxn is a transaction: one LTX file.
	recordTxn recordType = "ltxn"

	// recordBeat says that the upstream is there.
	//
	//	u64 u64   its position
	//	u64       its clock, ns since the Unix epoch
	recordBeat recordType = "beat"
)

type recordType string

const (
	streamVersion    = 1
	recordHeaderSize = 16
	recordFooterSize = 4
	recordOverhead   = recordHeaderSize + recordFooterSize
	helloSize        = 4*4 + posSize + idLen
	posSize          = 16
	beatSize         = posSize + 8
	idLen            = 32
)

var (
	// ErrCorrupt says that bytes are not what was written.
	ErrCorrupt = errors.New("corrupt data")

	errTooLong = fmt.Errorf("%w: record too long", ErrCorrupt)
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func crcUpdate(crc uint32, b []byte) uint32 { return crc32.Update(crc, crcTable, b) }

// maxPayload is the longest payload of each type for pages of up to 64 KiB.
// Only transactions are longer; they are never held in memory whole.
func maxPayload(t recordType) int64 {
	switch t {
	case recordHello:
		return helloSize
	case recordPage:
		return 4 + ltx.MaxPageSize
	case recordDone:
		return posSize
	case recordBeat:
		return beatSize
	case recordTxn:
		return 1 << 44
	}
	return -1
}

// putHeader fills the first bytes of b.
func putHeader(b []byte, t recordType, length int64) {
	copy(b, t)
	binary.BigEndian.PutUint64(b[4:], uint64(length))
	binary.BigEndian.PutUint32(b[12:], crcUpdate(0, b[:12]))
}

// parseHeader checks the first bytes of b.
func parseHeader(b []byte) (t recordType, length int64, err error) {
	if got, want := binary.BigEndian.Uint32(b[12:]), crcUpdate(0, b[:12]); got != want {
		return "", 0, fmt.Errorf("%w: record header has CRC %08x, want %08x", ErrCorrupt, got, want)
	}
	t = recordType(b[:4])
	limit := maxPayload(t)
	if limit < 0 {
		return "", 0, fmt.Errorf("%w: unknown record type %q", ErrCorrupt, string(t))
	}
	n := binary.BigEndian.Uint64(b[4:])
	if n > uint64(limit) {
		return "", 0, fmt.Errorf("%w: %s of %d bytes, at most %d allowed", errTooLong, t, n, limit)
	}
	return t, int64(n), nil
}

// appendRecord appends a whole record to b.
func appendRecord(b []byte, t recordType, payload ...[]byte) []byte {
	var n int64
	for _, p := range payload {
		n += int64(len(p))
	}
	var h [recordHeaderSize]byte
	putHeader(h[:], t, n)
	b = append(b, h[:]...)
	var crc uint32
	for _, p := range payload {
		b = append(b, p...)
		crc = crcUpdate(crc, p)
	}
	return binary.BigEndian.AppendUint32(b, crc)
}

// recordReader reads the records of a stream one after another. Its errors
// stick: io.EOF where the stream ends between records, io.ErrUnexpectedEOF
// where it ends inside one, ErrCorrupt where it is not a stream.
type recordReader struct {
	r    io.Reader
	left int64  // of the payload
	open bool   // a payload was begun and its CRC not yet checked
	crc  uint32 // of the payload so far
	err  error
}

// next ends the record before, which must have been read, and begins another.
func (r *recordReader) next() (t recordType, length int64, err error) {
	if err := r.end(); err != nil {
		return "", 0, err
	}
	var b [recordHeaderSize]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		r.err = err
		return "", 0, err
	}
	t, length, err = parseHeader(b[:])
	r.err, r.left, r.open, r.crc = err, length, err == nil, 0
	return t, length, err
}

// Read reads the current record's payload up to io.EOF.
func (r *recordReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.r.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	r.crc = crcUpdate(r.crc, p[:n])
	if err == io.EOF && r.left == 0 {
		err = nil
	}
	if err != nil {
		r.err = short(err)
	}
	return n, r.err
}

// end checks the CRC of the current record's payload.
func (r *recordReader) end() error {
	if r.err != nil || !r.open {
		return r.err
	}
	if r.left > 0 {
		return fmt.Errorf("record has %d bytes that were not read", r.left)
	}
	var b [recordFooterSize]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		r.err = short(err)
		return r.err
	}
	r.open = false
	if got := binary.BigEndian.Uint32(b[:]); got != r.crc {
		r.err = fmt.Errorf("%w: record has CRC %08x, want %08x", ErrCorrupt, got, r.crc)
	}
	return r.err
}

// payload reads all of a short record into b, which has room for it, and
// checks its CRC.
func (r *recordReader) payload(b []byte, length int64) ([]byte, error) {
	b = b[:length]
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, short(err)
	}
	return b, r.end()
}

// short makes an end where more was due an io.ErrUnexpectedEOF.
func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

type hello struct {
	pages bool // those of a snapshot or delta follow
	SnapshotHeader
	id string
}

func (h hello) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, streamVersion)
	var follows uint32
	if h.pages {
		follows = 1
	}
	b = binary.BigEndian.AppendUint32(b, follows)
	b = binary.BigEndian.AppendUint32(b, h.PageSize)
	b = binary.BigEndian.AppendUint32(b, h.Size)
	b = appendPos(b, h.Pos)
	return append(b, h.id...)
}

func parseHello(b []byte) (h hello, err error) {
	if len(b) < 4 {
		return h, fmt.Errorf("%w: hello of %d bytes", ErrCorrupt, len(b))
	}
	if v := binary.BigEndian.Uint32(b); v != streamVersion {
		return h, fmt.Errorf("upstream speaks version %d of the stream, this is version %d: run the same weir on both sides", v, streamVersion)
	}
	if len(b) != helloSize {
		return h, fmt.Errorf("%w: hello of %d bytes, want %d", ErrCorrupt, len(b), helloSize)
	}
	follows := binary.BigEndian.Uint32(b[4:])
	h.pages = follows == 1
	h.PageSize, h.Size = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	h.Pos = parsePos(b[16:])
	h.id = string(b[16+posSize:])
	switch {
	case follows > 1:
		return h, fmt.Errorf("%w: hello announces %d", ErrCorrupt, follows)
	case (h.PageSize != 0 || h.pages) && !ltx.IsValidPageSize(h.PageSize):
		return h, fmt.Errorf("%w: hello with page size %d", ErrCorrupt, h.PageSize)
	case !validID(h.id):
		return h, fmt.Errorf("%w: hello with identity %q", ErrCorrupt, h.id)
	}
	return h, nil
}

func appendPos(b []byte, p Pos) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.TXID))
	return binary.BigEndian.AppendUint64(b, uint64(p.PostApplyChecksum))
}

func parsePos(b []byte) Pos {
	return Pos{TXID: TXID(binary.BigEndian.Uint64(b)), PostApplyChecksum: Checksum(binary.BigEndian.Uint64(b[8:]))}
}

func appendBeat(b []byte, p Pos, at time.Time) []byte {
	return binary.BigEndian.AppendUint64(appendPos(b, p), uint64(at.UnixNano()))
}

func parseDone(b []byte) (Pos, error) {
	if len(b) != posSize {
		return Pos{}, fmt.Errorf("%w: done of %d bytes, want %d", ErrCorrupt, len(b), posSize)
	}
	return parsePos(b), nil
}

func parseBeat(b []byte) (Pos, time.Time, error) {
	if len(b) != beatSize {
		return Pos{}, time.Time{}, fmt.Errorf("%w: beat of %d bytes, want %d", ErrCorrupt, len(b), beatSize)
	}
	return parsePos(b), time.Unix(0, int64(binary.BigEndian.Uint64(b[posSize:]))), nil
}

// packPage returns page as an LZ4 block in buf, or page itself where that is
// not shorter.
func packPage(c *lz4.Compressor, page, buf []byte) []byte {
	n, err := c.CompressBlock(page, buf[:len(page)-1])
	if err != nil || n == 0 {
		return page
	}
	return buf[:n]
}

// parsePage unpacks a page record into page, which has the page size.
func parsePage(b, page []byte) (pgno uint32, err error) {
	if len(b) < 5 || len(b)-4 > len(page) {
		return 0, fmt.Errorf("%w: page record of %d bytes with page size %d", ErrCorrupt, len(b), len(page))
	}
	pgno, b = binary.BigEndian.Uint32(b), b[4:]
	if pgno == 0 || pgno == ltx.LockPgno(uint32(len(page))) {
		return 0, fmt.Errorf("%w: page number %d", ErrCorrupt, pgno)
	}
	if len(b) == len(page) {
		copy(page, b)
		return pgno, nil
	}
	if n, err := lz4.UncompressBlock(b, page); err != nil || n != len(page) {
		return 0, fmt.Errorf("%w: page %d unpacks to %d of %d bytes (%v)", ErrCorrupt, pgno, n, len(page), err)
	}
	return pgno, nil
}
