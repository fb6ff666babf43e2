package stream

import (
	"errors"
	"fmt"

	"github.com/superfly/ltx"
)

// A TxnWriter appends one transaction to a Log. It ends with Commit or Abort.
type TxnWriter struct {
	l      *Log
	h      ltx.Header
	enc    *encoder
	failed error
}

// Begin begins the transaction that follows Last, with that TXID and checksum
// in its header. The transaction with TXID 1 has every page of the database.
func (l *Log) Begin(h ltx.Header) (*TxnWriter, error) {
	if err := l.beginRecord(); err != nil {
		return nil, err
	}
	w := &TxnWriter{l: l, h: h, enc: encoders.Get().(*encoder)}
	err := l.checkHeader(h)
	if err == nil {
		err = w.enc.begin(&l.rec, h)
	}
	if err != nil {
		w.Abort()
		return nil, fmt.Errorf("begin transaction %s: %w", h.MinTXID, err)
	}
	return w, nil
}

// Store has the pages be stored as they are, which takes a small part of the
// time that compressing them does: for who has many transactions to append.
func (w *TxnWriter) Store() {
	if w.enc != nil {
		w.enc.packer.stored = true
	}
}

// WritePage adds a page; page numbers ascend and leave out the lock page. Its
// errors stick, as Commit's: then only Abort is left to do.
func (w *TxnWriter) WritePage(pgno uint32, data []byte) error {
	return w.WriteSummed(pgno, data, CRCOfPage(pgno, data))
}

// WriteSummed is WritePage for a page whose CRC is known.
func (w *TxnWriter) WriteSummed(pgno uint32, data []byte, c PageCRC) error {
	return w.write(func() error { return w.enc.page(pgno, data, c) })
}

// WritePacked is WritePage for a page that is packed.
func (w *TxnWriter) WritePacked(p *Packed) error {
	return w.write(func() error { return w.enc.packed(p) })
}

func (w *TxnWriter) write(page func() error) error {
	if w.enc == nil {
		return w.ended()
	}
	err := page()
	if err != nil {
		w.failed = err
	}
	return w.wrap(err)
}

// Commit completes the record, given the database's rolling checksum after
// the transaction. The record is in the log but not yet published. After an
// error the transaction is aborted.
func (w *TxnWriter) Commit(post Checksum) (Pos, error) {
	if w.enc == nil {
		return Pos{}, w.ended()
	}
	p := Pos{TXID: w.h.MaxTXID, PostApplyChecksum: post}
	err := w.failed
	if err == nil {
		err = w.enc.close(post)
	}
	if err == nil {
		err = w.l.rec.end(recordTxn)
	}
	if err == nil {
		err = w.l.rec.flush()
	}
	if err != nil {
		w.failed = err
		w.Abort()
		return Pos{}, w.wrap(err)
	}
	w.l.endRecord(p)
	w.release()
	return p, nil
}

// Abort drops the transaction. After Commit or Abort it does nothing.
func (w *TxnWriter) Abort() {
	if w.enc == nil {
		return
	}
	w.release()
	w.l.dropRecord(w.failed)
}

func (w *TxnWriter) release() {
	w.enc.w = nil
	encoders.Put(w.enc)
	w.enc = nil
}

func (w *TxnWriter) ended() error {
	return w.wrap(errors.New("it has ended"))
}

func (w *TxnWriter) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("append transaction %s: %w", w.h.MinTXID, err)
}

// beginRecord makes rec ready for a record after the last, in a new segment
// where the last one is full. What was received before is written.
func (l *Log) beginRecord() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.write(); err != nil {
		return err
	}
	if s := l.active(); s.size >= l.opt.SegmentSize && len(s.records) > 0 {
		if err := l.roll(); err != nil {
			l.makeRoom(err)
			return fmt.Errorf("begin log segment: %w", err)
		}
	}
	l.writing = true
	l.rec.begin(l.active().file, l.active().size)
	return nil
}

func (l *Log) roll() error {
	old := l.active()
	s, err := l.create(old.last())
	if err != nil {
		return err
	}
	if err := l.dir.Rename(newFile, s.name); err != nil {
		return errors.Join(err, s.release())
	}
	l.segs = append(l.segs, s)
	l.retain()
	return old.release()
}

// checkHeader checks that a transaction follows the last. l is being written to.
func (l *Log) checkHeader(h ltx.Header) error {
	if h.MinTXID != h.MaxTXID {
		return fmt.Errorf("transactions %s to %s in one", h.MinTXID, h.MaxTXID)
	}
	if h.NoChecksum() {
		return errors.New("no checksums")
	}
	return checkNext(h, l.Last())
}

// endRecord adds the record to the index.
func (l *Log) endRecord(p Pos) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.active()
	s.records = append(s.records, entry{s.size, p.PostApplyChecksum})
	s.size += l.rec.size()
	s.newest = l.opt.Now()
	s.dirty = true
	l.writing = false
}

// dropRecord ends a record that is not to be. Where its bytes cannot be cut off
// now, the next record overwrites them, or OpenLog sets them aside. why may be
// that the disk is full.
func (l *Log) dropRecord(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if written := l.rec.drop(); written {
		l.active().file.Truncate(l.active().size)
	}
	l.makeRoom(why)
	l.writing = false
}
