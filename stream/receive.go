package stream

import (
	"bytes"
	"fmt"
	"io"

	"github.com/superfly/ltx"
)

// A Txn is a transaction that [Log.Receive] appends. It can be read until the
// next one is begun, or the log cut.
type Txn struct {
	h     ltx.Header
	post  Checksum
	crcs  []SummedPage
	rec   *recordWriter
	start int64 // of its record
	size  int64 // of it
}

// SummedPage is the CRC of a page, known without the page.
type SummedPage struct {
	Pgno uint32
	CRC  PageCRC
}

// Receive appends the n bytes of a transaction, which follows Last, as they
// are, and verifies all of it but the checksum after it, which takes the
// database: that is for leads to do, which is called before it is appended.
// The record is not published. It may not be written before [Log.Write], so
// that several of them are at once.
func (l *Log) Receive(r io.Reader, n int64, leads func(*Txn) error) (*Txn, error) {
	if err := l.beginReceived(n); err != nil {
		return nil, err
	}
	t, err := l.receive(r, n)
	if err == nil {
		err = leads(t)
	}
	if err == nil {
		err = l.rec.end(recordTxn)
	}
	if err != nil {
		l.dropRecord(err)
		return nil, fmt.Errorf("receive transaction: %w", err)
	}
	l.endRecord(t.Post())
	return t, nil
}

// beginReceived makes rec ready for a record of n bytes, behind those that are
// not written yet where there is room.
func (l *Log) beginReceived(n int64) error {
	if !l.rec.fits(n) {
		return l.beginRecord()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	l.writing = true
	l.rec.next()
	return nil
}

func (l *Log) receive(r io.Reader, n int64) (*Txn, error) {
	pages, err := NewTxnReader(io.TeeReader(r, &l.rec), n)
	if err != nil {
		return nil, err
	}
	defer pages.Close()
	if err := checkNext(pages.h, l.Last()); err != nil {
		return nil, err
	}
	t := &Txn{h: pages.h, rec: &l.rec, start: l.rec.start, size: n}
	for {
		pgno, _, err := pages.Next()
		if err == io.EOF {
			t.post = pages.post
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		t.crcs = append(t.crcs, SummedPage{pgno, pages.CRC()})
	}
}

// Header returns the LTX header.
func (t *Txn) Header() ltx.Header { return t.h }

// Pre returns the position before the transaction.
func (t *Txn) Pre() Pos { return t.h.PreApplyPos() }

// Post returns the position after it.
func (t *Txn) Post() Pos { return Pos{TXID: t.h.MaxTXID, PostApplyChecksum: t.post} }

// Summed returns its pages, in order.
func (t *Txn) Summed() []SummedPage { return t.crcs }

// Pages reads the pages from the start, once the transaction is appended. The
// log may not be written meanwhile.
func (t *Txn) Pages() (*TxnReader, error) {
	if t.start < t.rec.off { // it is in the file, which may change by itself
		return NewTxnReader(io.NewSectionReader(t.rec.file, t.start+recordHeaderSize, t.size), t.size)
	}
	r, err := NewTxnReader(bytes.NewReader(t.rec.payload()), t.size)
	if err == nil {
		r.known = t.crcs
	}
	return r, err
}

// Write writes what Receive has appended and not written. Where that fails, the
// owner withdraws it.
func (l *Log) Write() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.write()
}

// write is Write. The caller holds mu.
func (l *Log) write() error {
	if len(l.rec.buf) == 0 {
		return nil
	}
	l.active().dirty = true // a sync may have come between
	if err := l.rec.flush(); err != nil {
		l.makeRoom(err)
		return fmt.Errorf("write to log in %s: %w", l.dir.Name(), err)
	}
	return nil
}
