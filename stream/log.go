package stream

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/superfly/ltx"
)

// LevelTrace is the level of what is logged for each transaction or request.
const LevelTrace = slog.LevelDebug - 4

// DefaultMaxAge is for how long transactions are kept where LogOptions does not say.
const DefaultMaxAge = 24 * time.Hour

// LogOptions tune a Log. The zero value works.
type LogOptions struct {
	SegmentSize int64            // bytes after which a new segment begins; 16 MiB
	MaxBytes    int64            // of segments kept; 1 GiB. What set-aside files may take, too.
	MaxAge      time.Duration    // of segments kept; DefaultMaxAge
	Now         func() time.Time // time.Now
	Logger      *slog.Logger     // slog.Default
}

func (o LogOptions) withDefaults() LogOptions {
	if o.SegmentSize == 0 {
		o.SegmentSize = 16 << 20
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// A Log keeps the transactions that led to a database's state. It is safe for
// concurrent use, but one transaction is written at a time.
type Log struct {
	dir *os.Root
	opt LogOptions

	syncing sync.Mutex // held over Sync; taken before mu

	mu        sync.Mutex // guards all below, and the segments' fields
	identity  identity
	fresh     bool       // it is open for the first time
	segs      []*segment // oldest first, unbroken, never none; the last is held open
	published Pos
	watch     chan struct{} // closed and replaced when published moves
	readers   map[*LogReader]struct{}
	era       int  // counts histories: positions of an earlier one mean nothing
	damaged   TXID // the newest record found damaged; no position before it can be read on from
	newNames  bool // the directory was not synced
	closed    bool
	unsure    bool // a sync has failed: what it was to write may be lost, and a second one would not say so

	writing bool         // rec and what follows the last record belong to a TxnWriter
	rec     recordWriter // reused
}

// OpenLog opens the log in dir, or begins one there. All records are verified.
// What is damaged, and what cannot be reached because of it, is set aside: see
// the package documentation. dir must stay open until Close.
func OpenLog(dir *os.Root, opt LogOptions) (*Log, error) {
	l := &Log{dir: dir, opt: opt.withDefaults(), watch: make(chan struct{}), readers: make(map[*LogReader]struct{})}
	err := l.open()
	if err != nil {
		return nil, fmt.Errorf("open log in %s: %w", dir.Name(), err)
	}
	return l, nil
}

// Last returns the newest position, published or not.
func (l *Log) Last() Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last()
}

func (l *Log) active() *segment { return l.segs[len(l.segs)-1] }

func (l *Log) last() Pos { return l.active().last() }

// First returns the position before the oldest record.
func (l *Log) First() Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segs[0].base
}

// Published returns the position up to which readers see the log.
func (l *Log) Published() Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published
}

// Contains tells whether p is First or the position after a record.
func (l *Log) Contains(p Pos) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contains(p)
}

func (l *Log) contains(p Pos) bool {
	first := l.segs[0].base
	if p.TXID <= first.TXID {
		return p == first
	}
	return p.TXID <= l.last().TXID && segmentOf(l.segs, p.TXID).at(p.TXID) == p
}

// Find returns the newest position with the given checksum, and the header of
// the transaction that led to it, which is zero for First.
func (l *Log) Find(sum Checksum) (Pos, ltx.Header, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.segs) - 1; i >= 0; i-- {
		p, ok := l.segs[i].find(sum)
		if !ok {
			continue
		}
		if p == l.segs[0].base {
			return p, ltx.Header{}, true
		}
		h, err := l.header(p.TXID)
		if err != nil {
			l.opt.Logger.Error("read log", "dir", l.dir.Name(), "pos", p, "err", err)
		}
		return p, h, err == nil
	}
	return Pos{}, ltx.Header{}, false
}

// header reads the header of the transaction that led to txid.
func (l *Log) header(txid TXID) (h ltx.Header, err error) {
	s := segmentOf(l.segs, txid)
	f, err := s.acquire(l.dir)
	if err != nil {
		return h, err
	}
	defer s.release()
	from, _ := s.extent(txid)
	b := make([]byte, ltx.HeaderSize)
	if _, err := f.ReadAt(b, from+recordHeaderSize); err != nil {
		return h, short(err)
	}
	return h, parseTxnHeader(b, &h)
}

// Publish makes all that was appended visible to readers.
func (l *Log) Publish() {
	l.mu.Lock()
	var woken chan struct{}
	if p := l.last(); p != l.published {
		l.published = p
		woken = l.rewatch()
	}
	l.mu.Unlock()
	if woken != nil {
		close(woken)
	}
}

// rewatch returns the channel to be closed once mu is unlocked.
func (l *Log) rewatch() chan struct{} {
	woken := l.watch
	l.watch = make(chan struct{})
	return woken
}

// Wait returns once txid is published, or with an error once the log is closed.
func (l *Log) Wait(ctx context.Context, txid TXID) error {
	for {
		l.mu.Lock()
		watch, published, closed := l.watch, l.published.TXID, l.closed
		l.mu.Unlock()
		if published >= txid {
			return nil
		}
		if closed {
			return l.closedError()
		}
		select {
		case <-watch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *Log) closedError() error { return fmt.Errorf("log in %s: %w", l.dir.Name(), ErrClosed) }

// usable says whether the log can be changed.
func (l *Log) usable() error {
	if l.closed {
		return l.closedError()
	}
	if l.writing {
		return fmt.Errorf("log in %s: %w", l.dir.Name(), ErrBusy)
	}
	return nil
}

// Close ends all readers and closes the log. It does not sync.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed || l.writing {
		defer l.mu.Unlock()
		return l.usable()
	}
	l.closed = true
	woken := l.rewatch()
	err := l.active().release()
	l.mu.Unlock()
	close(woken)
	return err
}
