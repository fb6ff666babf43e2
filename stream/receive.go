package stream

import (
	"bytes"
	"fmt"
	"io"

	"github.com/superfly/ltx"
)

// A Txn is a transaction that [Log.Receive] appended. It can be read until the
// next one is begun, or the log cut.
type Txn struct {
	h    ltx.Header
	post Checksum
	data io.ReaderAt
	off  int64
	size int64
	crcs []PageCRC // of its pages, in order; nil where data may change by itself
}

// Receive appends the n bytes of a transaction, which follows Last, as they
// are, and verifies all of it but the checksum after it, which takes the
// database. The record is not published.
func (l *Log) Receive(r io.Reader, n int64) (*Txn, error) {
	if err := l.beginRecord(); err != nil {
		return nil, err
	}
	t, err := l.receive(r, n)
	if err != nil {
		l.dropRecord(err)
		return nil, fmt.Errorf("receive transaction: %w", err)
	}
	return t, nil
}

func (l *Log) receive(r io.Reader, n int64) (*Txn, error) {
	pages, err := NewTxnReader(io.TeeReader(r, &l.rec), n)
	if err != nil {
		return nil, err
	}
	if err := checkNext(pages.h, l.Last()); err != nil {
		return nil, err
	}
	var crcs []PageCRC
	for err == nil {
		if _, _, err = pages.Next(); err == nil {
			crcs = append(crcs, pages.CRC())
		}
	}
	if err != io.EOF {
		return nil, err
	}
	t := &Txn{h: pages.h, post: pages.post, data: l.rec.file, off: l.rec.start + recordHeaderSize, size: n}
	if l.rec.whole() {
		t.data, t.off, t.crcs = bytes.NewReader(bytes.Clone(l.rec.payload())), 0, crcs
	}
	return t, l.endRecord(t.Post())
}

// Header returns the LTX header.
func (t *Txn) Header() ltx.Header { return t.h }

// Pre returns the position before the transaction.
func (t *Txn) Pre() Pos { return t.h.PreApplyPos() }

// Post returns the position after it.
func (t *Txn) Post() Pos { return Pos{TXID: t.h.MaxTXID, PostApplyChecksum: t.post} }

// Pages reads the pages from the start.
func (t *Txn) Pages() (*TxnReader, error) {
	r, err := NewTxnReader(io.NewSectionReader(t.data, t.off, t.size), t.size)
	if err == nil {
		r.known = t.crcs
	}
	return r, err
}
