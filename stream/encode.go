package stream

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"io"
	"sync"

	"github.com/superfly/ltx"
)

// encoder writes one transaction as an LTX file. It writes what ltx.Encoder
// does, but one encoder serves many transactions: ltx.Encoder allocates its
// compressor's 128 KiB table for each, which costs more than a small
// transaction itself.
type encoder struct {
	w     io.Writer
	h     ltx.Header
	lock  uint32
	crc   uint64 // CRC-ISO-64 of the file, as LTX defines it
	n     int64  // bytes written
	index []byte
	prev  uint32   // page written last
	sum   Checksum // rolling checksum of the pages, of use where h begins a database

	packer Packer
	own    Packed // a page that was not packed before
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

func (e *encoder) begin(w io.Writer, h ltx.Header) error {
	if err := h.Validate(); err != nil {
		return fmt.Errorf("ltx header: %w", err)
	}
	e.w, e.h, e.lock, e.packer.stored = w, h, h.LockPgno(), false
	e.crc, e.n, e.index, e.prev, e.sum = 0, 0, e.index[:0], 0, ltx.ChecksumFlag
	b, err := h.MarshalBinary()
	if err != nil {
		return err
	}
	return e.write(b, b)
}

// write writes b and adds sum to the checksum.
func (e *encoder) write(b, sum []byte) error {
	e.crc = updateCRC(e.crc, sum)
	n, err := e.w.Write(b)
	e.n += int64(n)
	return err
}

// page adds a page, whose CRC is c.
func (e *encoder) page(pgno uint32, data []byte, c PageCRC) error {
	if err := e.packer.pack(pgno, data, c, &e.own); err != nil {
		return err
	}
	return e.packed(&e.own)
}

// packed adds a page that is packed.
func (e *encoder) packed(p *Packed) error {
	if p.size != int(e.h.PageSize) {
		return fmt.Errorf("page %d has %d bytes, want %d", p.pgno, p.size, e.h.PageSize)
	}
	if err := checkOrder(e.h, e.lock, e.prev, p.pgno); err != nil {
		return err
	}
	e.index = appendIndex(e.index, p.pgno, e.n, int64(len(p.frame)))
	e.prev = p.pgno
	if e.h.IsSnapshot() {
		e.sum = ltx.ChecksumFlag | (e.sum ^ p.CRC.Sum())
	}
	if err := e.write(p.frame, p.frame[:pageFrameSize]); err != nil {
		return err
	}
	e.crc = crcPage(e.crc, p.CRC, p.pgno, e.h.PageSize)
	return nil
}

// close ends the file with the rolling checksum after the transaction.
func (e *encoder) close(post Checksum) error {
	if err := checkEnd(e.h, e.lock, e.prev, e.sum, post); err != nil {
		return err
	}
	var end [ltx.PageHeaderSize]byte
	if err := e.write(end[:], end[:]); err != nil {
		return err
	}
	e.index = append(e.index, 0)
	e.index = binary.BigEndian.AppendUint64(e.index, uint64(len(e.index)))
	if err := e.write(e.index, e.index); err != nil {
		return err
	}
	var t [ltx.TrailerSize]byte
	binary.BigEndian.PutUint64(t[:], uint64(post))
	e.crc = crc64.Update(e.crc, crcISO, t[:8])
	binary.BigEndian.PutUint64(t[8:], uint64(ltx.ChecksumFlag)|e.crc)
	return e.write(t[:], nil)
}

func appendIndex(b []byte, pgno uint32, offset, size int64) []byte {
	b = binary.AppendUvarint(b, uint64(pgno))
	b = binary.AppendUvarint(b, uint64(offset))
	return binary.AppendUvarint(b, uint64(size))
}

// checkOrder checks that pgno may follow page prev: ascending, without the
// lock page, and without gaps in the transaction that begins a database.
func checkOrder(h ltx.Header, lock, prev, pgno uint32) error {
	switch {
	case pgno > h.Commit:
		return fmt.Errorf("page %d is beyond the database's %d pages", pgno, h.Commit)
	case pgno == lock:
		return fmt.Errorf("page %d is the lock page", pgno)
	case pgno <= prev:
		return fmt.Errorf("page %d comes after page %d", pgno, prev)
	case h.IsSnapshot() && pgno != after(prev, lock):
		return fmt.Errorf("page %d comes after page %d: the first transaction has all pages", pgno, prev)
	}
	return nil
}

// checkEnd checks that a transaction may end after page prev with checksum post.
func checkEnd(h ltx.Header, lock, prev uint32, sum, post Checksum) error {
	switch {
	case post&ltx.ChecksumFlag == 0:
		return fmt.Errorf("%s is no rolling checksum", post)
	case h.Commit == 0 && post != ltx.ChecksumFlag:
		return fmt.Errorf("an empty database has rolling checksum %s, not %s", ltx.ChecksumFlag, post)
	case h.IsSnapshot() && after(prev, lock) <= h.Commit:
		return fmt.Errorf("transaction ends after page %d of %d: the first transaction has all pages", prev, h.Commit)
	case h.IsSnapshot() && sum != post:
		return fmt.Errorf("the first transaction's pages have rolling checksum %s, not %s", sum, post)
	}
	return nil
}

// after returns the page number that follows pgno.
func after(pgno, lock uint32) uint32 {
	if pgno+1 == lock {
		return pgno + 2
	}
	return pgno + 1
}
