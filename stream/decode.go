package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"
)

// A TxnReader decodes one transaction, an LTX file, page by page, and verifies
// all of it: structure, order, page index, checksums. It is not ltx.Decoder
// because that allocates whatever size a page frame claims; a TxnReader never
// holds more than one page. Its errors stick: ErrCorrupt where the bytes are
// not a transaction, io.ErrUnexpectedEOF where they end early, and otherwise
// what the underlying reader says.
type TxnReader struct {
	r    io.Reader
	left int64 // bytes of the file not yet read
	off  int64 // bytes read
	h    ltx.Header
	lock uint32
	crc  uint64 // CRC-ISO-64 of the file, as LTX defines it

	prev     uint32   // page read last
	sum      Checksum // rolling checksum of the pages
	indexCRC uint64   // CRC of the index as the pages demand it
	indexLen int64

	page, packed []byte
	pageCRC      PageCRC      // of page
	known        []SummedPage // of the pages that follow, where they have been computed before
	post         Checksum
	err          error
}

// NewTxnReader begins to decode the n bytes of a transaction.
func NewTxnReader(r io.Reader, n int64) (*TxnReader, error) {
	return newTxnReader(r, n, parseTxnHeader)
}

// NewRangeReader begins to decode the n bytes of an LTX file that may have several transactions in one.
func NewRangeReader(r io.Reader, n int64) (*TxnReader, error) {
	return newTxnReader(r, n, parseRangeHeader)
}

func newTxnReader(r io.Reader, n int64, parse func([]byte, *ltx.Header) error) (*TxnReader, error) {
	t := txnReaders.Get().(*TxnReader)
	*t = TxnReader{r: r, left: n, sum: ltx.ChecksumFlag, page: t.page, packed: t.packed}
	if err := t.header(parse); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// txnReaders have room for a page: a transaction may have only one.
var txnReaders = sync.Pool{New: func() any { return new(TxnReader) }}

// Close gives the reader's memory to another. It need not be called.
func (t *TxnReader) Close() {
	*t = TxnReader{page: t.page, packed: t.packed, err: ErrClosed}
	txnReaders.Put(t)
}

// header reads the header, and makes room for a page.
func (t *TxnReader) header(parse func([]byte, *ltx.Header) error) error {
	b := slices.Grow(t.packed[:0], ltx.HeaderSize)[:ltx.HeaderSize]
	if err := t.read(b, "header"); err != nil {
		return err
	}
	if err := parse(b, &t.h); err != nil {
		return err
	}
	t.crc = updateCRC(0, b)
	t.lock = t.h.LockPgno()
	bound := lz4.CompressBlockBound(int(t.h.PageSize))
	t.page = slices.Grow(t.page[:0], int(t.h.PageSize))[:t.h.PageSize]
	t.packed = slices.Grow(b[:0], bound)[:bound]
	return nil
}

// parseTxnHeader reads and checks the header of a single transaction.
func parseTxnHeader(b []byte, h *ltx.Header) error {
	err := parseRangeHeader(b, h)
	if err == nil && h.MinTXID != h.MaxTXID {
		err = fmt.Errorf("%w: ltx header: transactions %s to %s in one", ErrCorrupt, h.MinTXID, h.MaxTXID)
	}
	return err
}

// parseRangeHeader reads and checks the header of one or more transactions.
func parseRangeHeader(b []byte, h *ltx.Header) error {
	err := h.UnmarshalBinary(b)
	if err == nil {
		err = h.Validate()
	}
	if err == nil && h.NoChecksum() {
		err = errors.New("no checksums")
	}
	if err != nil {
		return fmt.Errorf("%w: ltx header: %w", ErrCorrupt, err)
	}
	return nil
}

// Header returns the LTX header.
func (t *TxnReader) Header() ltx.Header { return t.h }

// Pre returns the position before the transaction.
func (t *TxnReader) Pre() Pos { return t.h.PreApplyPos() }

// CRC returns the CRC of the page that Next returned.
func (t *TxnReader) CRC() PageCRC { return t.pageCRC }

// Post returns the position after the transaction, known once Next has
// returned io.EOF.
func (t *TxnReader) Post() Pos { return Pos{TXID: t.h.MaxTXID, PostApplyChecksum: t.post} }

// Next returns the next page, in ascending order; data is valid until the next
// call. io.EOF says that there are no more and that the transaction is whole.
func (t *TxnReader) Next() (pgno uint32, data []byte, err error) {
	if t.err != nil {
		return 0, nil, t.err
	}
	pgno, err = t.next()
	if err == nil && pgno == 0 {
		if err = t.end(); err == nil {
			err = io.EOF
		}
	}
	t.err = err
	return pgno, t.page, err
}

// next reads a page frame; 0 is the end of the pages.
func (t *TxnReader) next() (uint32, error) {
	var b [pageFrameSize]byte
	head := b[:ltx.PageHeaderSize]
	if err := t.read(head, "page header"); err != nil {
		return 0, err
	}
	t.crc = updateCRC(t.crc, head)
	pgno, flags := binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint16(b[4:])
	if pgno == 0 && flags == 0 {
		return 0, nil
	}
	if flags != ltx.PageHeaderFlagSize || pgno == 0 {
		return 0, t.corrupt("page %d with flags %04x", pgno, flags)
	}
	if err := checkOrder(t.h, t.lock, t.prev, pgno); err != nil {
		return 0, t.corrupt("%w", err)
	}
	t.prev = pgno
	return pgno, t.unpack(pgno, b[ltx.PageHeaderSize:])
}

// unpack reads the rest of a page frame into page.
func (t *TxnReader) unpack(pgno uint32, size []byte) error {
	start := t.off - ltx.PageHeaderSize
	if err := t.read(size, "page size"); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size)
	if n > uint32(len(t.packed)) {
		return t.corrupt("page %d packed in %d bytes, at most %d allowed", pgno, n, len(t.packed))
	}
	if err := t.read(t.packed[:n], "page"); err != nil {
		return err
	}
	if m, err := lz4.UncompressBlock(t.packed[:n], t.page); err != nil || m != len(t.page) {
		return t.corrupt("page %d unpacks to %d of %d bytes (%v)", pgno, m, len(t.page), err)
	}
	t.sumPage(pgno)
	t.crc = crcPage(crc64.Update(t.crc, crcISO, size), t.pageCRC, pgno, t.h.PageSize)
	if t.h.IsSnapshot() {
		t.sum = ltx.ChecksumFlag | (t.sum ^ t.pageCRC.Sum())
	}
	var b [3 * binary.MaxVarintLen64]byte
	elem := appendIndex(b[:0], pgno, start, t.off-start)
	t.indexCRC = crc64.Update(t.indexCRC, crcISO, elem)
	t.indexLen += int64(len(elem))
	return nil
}

func (t *TxnReader) sumPage(pgno uint32) {
	if len(t.known) > 0 {
		t.pageCRC, t.known = t.known[0].CRC, t.known[1:]
		return
	}
	t.pageCRC = CRCOfPage(pgno, t.page)
}

// end reads what follows the pages: the index, which the pages determine, and
// the trailer.
func (t *TxnReader) end() error {
	var tail [1 + 8 + ltx.TrailerSize]byte
	if want := t.indexLen + int64(len(tail)); t.left != want {
		return t.corrupt("%d bytes after the pages, want %d", t.left, want)
	}
	if err := t.index(); err != nil {
		return err
	}
	if err := t.read(tail[:], "trailer"); err != nil {
		return err
	}
	if tail[0] != 0 || binary.BigEndian.Uint64(tail[1:]) != uint64(t.indexLen)+1 {
		return t.corrupt("page index does not end")
	}
	t.crc = updateCRC(t.crc, tail[:1+8+8])
	post, sum := Checksum(binary.BigEndian.Uint64(tail[9:])), Checksum(binary.BigEndian.Uint64(tail[17:]))
	if want := ltx.ChecksumFlag | Checksum(t.crc); sum != want {
		return t.corrupt("file checksum %s, want %s", sum, want)
	}
	if err := checkEnd(t.h, t.lock, t.prev, t.sum, post); err != nil {
		return t.corrupt("%w", err)
	}
	t.post = post
	return nil
}

// index reads the page index, which must be the one that the pages demand.
func (t *TxnReader) index() error {
	var crc uint64
	for left := t.indexLen; left > 0; {
		b := t.packed[:min(left, int64(len(t.packed)))]
		if err := t.read(b, "page index"); err != nil {
			return err
		}
		crc, t.crc = updateCRC(crc, b), updateCRC(t.crc, b)
		left -= int64(len(b))
	}
	if crc != t.indexCRC {
		return t.corrupt("page index does not fit the pages")
	}
	return nil
}

// read fills b with the part of the file named what.
func (t *TxnReader) read(b []byte, what string) error {
	if int64(len(b)) > t.left {
		return t.corrupt("%s of %d bytes where %d are left", what, len(b), t.left)
	}
	n, err := io.ReadFull(t.r, b)
	t.off += int64(n)
	t.left -= int64(n)
	if err != nil {
		return fmt.Errorf("read %s of transaction %s at %d: %w", what, t.h.MinTXID, t.off, short(err))
	}
	return nil
}

func (t *TxnReader) corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: transaction %s before byte %d: %w", ErrCorrupt, t.h.MinTXID, t.off, fmt.Errorf(format, args...))
}
