package stream

import (
	"context"
	"fmt"
	"io"
)

// A LogReader reads a log's published records from a position on. While it is
// open the log keeps what it still has to read, within limits. It is used by
// one goroutine.
type LogReader struct {
	l   *Log
	era int
	pos Pos      // after the record returned last
	seg *segment // of that record, held open; nil before the first
}

// RawRecord is a transaction's record as it is in the log and on the wire. It
// can be read until the reader's next call.
type RawRecord struct {
	Pos  Pos // after the transaction
	Data *io.SectionReader
}

// Reader reads what follows from, which must be published. ErrNotInLog says
// that the log cannot lead on from there.
func (l *Log) Reader(from Pos) (*LogReader, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &LogReader{l: l, era: l.era, pos: from}
	if err := r.check(); err != nil {
		return nil, err
	}
	if from.TXID > l.published.TXID {
		return nil, fmt.Errorf("%s is not published: %w", from, ErrNotInLog)
	}
	l.readers[r] = struct{}{}
	return r, nil
}

// check says whether the log leads on from pos. The caller holds mu.
func (r *LogReader) check() error {
	l := r.l
	if l.closed {
		return l.closedError()
	}
	if r.era != l.era || !l.contains(r.pos) || r.pos.TXID < l.damaged {
		return fmt.Errorf("%s: %w", r.pos, ErrNotInLog)
	}
	return nil
}

// Pos returns the position after the record returned last.
func (r *LogReader) Pos() Pos { return r.pos }

// Next returns the next record, and waits for it to be published.
func (r *LogReader) Next(ctx context.Context) (RawRecord, error) {
	for {
		rec, watch, err := r.poll()
		if watch == nil {
			return rec, err
		}
		select {
		case <-watch:
		case <-ctx.Done():
			return RawRecord{}, ctx.Err()
		}
	}
}

// poll returns the next record, or what to wait for.
func (r *LogReader) poll() (rec RawRecord, watch <-chan struct{}, err error) {
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := r.check(); err != nil {
		return rec, nil, err
	}
	if r.pos.TXID >= l.published.TXID {
		return rec, l.watch, nil
	}
	txid := r.pos.TXID + 1
	if err := r.hold(segmentOf(l.segs, txid)); err != nil {
		return rec, nil, fmt.Errorf("open log segment: %w", err)
	}
	from, to := r.seg.extent(txid)
	r.pos = r.seg.at(txid)
	return RawRecord{r.pos, io.NewSectionReader(r.seg.file, from, to-from)}, nil, nil
}

// hold keeps s open instead of the segment held before. The caller holds mu.
func (r *LogReader) hold(s *segment) error {
	if s == r.seg {
		return nil
	}
	if s != nil {
		if _, err := s.acquire(r.l.dir); err != nil {
			return err
		}
	}
	if r.seg != nil {
		r.seg.release() // was only read from
	}
	r.seg = s
	return nil
}

// isDamaged tells the log that the record at pos is not what was written.
// Readers before it are then at positions that are not in the log.
func (r *LogReader) isDamaged() {
	l := r.l
	l.mu.Lock()
	damaged := r.era == l.era && l.contains(r.pos)
	if damaged {
		l.damaged = max(l.damaged, r.pos.TXID)
	}
	l.mu.Unlock()
	if damaged {
		l.opt.Logger.Error("the log is damaged; followers before it get the pages that differ", "dir", l.dir.Name(), "pos", r.pos)
	}
}

// Close ends the reader.
func (r *LogReader) Close() error {
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.readers, r)
	return r.hold(nil)
}
