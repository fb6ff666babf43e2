package stream

import "time"

// Extent returns the log's size in bytes, and the oldest transaction that it has, 0 where it has none.
func (l *Log) Extent() (bytes int64, first TXID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segs {
		bytes += s.size
	}
	if base := l.segs[0].base.TXID; base < l.last().TXID {
		first = base + 1
	}
	return bytes, first
}

// bytesAfter returns how many bytes of the log a reader at from has still to read; 0 where from is not in the log.
func (l *Log) bytesAfter(from TXID) (bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := l.published.TXID
	if from < l.segs[0].base.TXID {
		return 0
	}
	for _, s := range l.segs {
		if a, b := max(from, s.base.TXID), min(to, s.last().TXID); a < b {
			bytes += s.end(b) - s.end(a)
		}
	}
	return bytes
}

// committedAt returns when a transaction was committed, by the primary's clock; zero where it is not in the log.
func (l *Log) committedAt(txid TXID) (at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if txid <= l.segs[0].base.TXID || txid > l.last().TXID {
		return at
	}
	if h, err := l.header(txid); err == nil {
		at = time.UnixMilli(h.Timestamp)
	}
	return at
}

// sent returns the position after the record returned last, to any goroutine.
func (r *LogReader) sent() Pos {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	return r.pos
}
