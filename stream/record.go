package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

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
// where the middle is there only if helo announces pages (or sums, asked for in
// their place, and then all ends with done or fail), and beat may stand
// anywhere, before helo too, while a snapshot waits for its turn.
const (
	// recordHello opens a stream.
	//
	//	u32       version, 2
	//	u32       what follows: 0 transactions, 1 the pages of a snapshot or delta
	//	u32       page size in bytes, 0 where there is no database yet
	//	u32       database size in pages
	//	u64 u64   position: the one asked for, or the one at the snapshot's start
	//	32 bytes  identity of the database, hex
	//	u32       number of ancestors, of each
	//	  32 bytes  identity, hex
	//	  u64 u64   the last position in common
	//	u32       number of instances, from this server up to the primary, of each
	//	  32 bytes  hex
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

	// recordSums stands in the place of pages where only their checksums are wanted.
	//
	//	for each page, at most sumsAtOnce
	//	  u32     page number
	//	  u64     checksum
	recordSums recordType = "sums"

	// recordFail ends a stream of page checksums, and says why it has no end.
	//
	//	text
	recordFail recordType = "fail"

	// recordTxn is a transaction: one LTX file.
	recordTxn recordType = "ltxn"

	// recordBeat says that the upstream is there.
	//
	//	u64 u64   its position
	//	u64       its clock, ns since the Unix epoch
	//	u64       its own lag, ns: how far behind its upstream it is, 0 on a primary
	//	u64       bytes of its log that the stream has still to send
	recordBeat recordType = "beat"
)

type recordType string

const (
	streamVersion    = 3
	recordHeaderSize = 16
	recordFooterSize = 4
	recordOverhead   = recordHeaderSize + recordFooterSize
	helloMin         = 4*4 + posSize + idLen + 2*4
	helloMax         = helloMin + maxAncestors*(idLen+posSize) + maxInstances*idLen
	posSize          = 16
	beatSize         = posSize + 3*8
	idLen            = 32
	failMax          = 4 << 10
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
		return helloMax
	case recordPage:
		return 4 + ltx.MaxPageSize
	case recordDone:
		return posSize
	case recordBeat:
		return beatSize
	case recordSums:
		return sumsAtOnce * sumSize
	case recordFail:
		return failMax
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
		r.err = fmt.Errorf("record has %d bytes that were not read", r.left)
		return r.err
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

// explain marks err where the connection caused it. What ended the stream before, such as a transaction that does not
// follow, may have been found with the connection's end already read.
func (r *recordReader) explain(err error) error {
	switch {
	case r.err == nil || !errors.Is(err, r.err):
		return err
	case r.err == io.EOF:
		return errEnded
	}
	return fmt.Errorf("%w: %w", errConn, r.err)
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
