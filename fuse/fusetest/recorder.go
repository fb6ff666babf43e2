package fusetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"weir/stream"
)

// Recorder follows a stream and keeps the checksums of the pages that it leads to. It implements [stream.Replica].
type Recorder struct {
	mu        sync.Mutex
	id        string
	pos       stream.Pos
	sums      *stream.Sums
	page1     stream.Checksum   // [Versionless]
	pages     map[uint32][]byte // by pgno, for [Recorder.Page]; nil: not kept
	deltas    int               // breaks in the stream where the page size stayed
	resizes   int               // and where it did not
	err       error             // what must not have happened
	history   []stream.Pos      // ascending
	connected bool
	changed   chan struct{} // closed and replaced after each change
}

// NewRecorder makes a recorder that keeps the pages themselves, too, or not.
func NewRecorder(keepPages bool) *Recorder {
	r := &Recorder{sums: stream.NewSums(0), changed: make(chan struct{})}
	if keepPages {
		r.pages = make(map[uint32][]byte)
	}
	return r
}

var _ = (stream.Replica)((*Recorder)(nil))

// Pos implements [stream.Replica].
func (r *Recorder) Pos() (string, stream.Pos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id, r.pos
}

// Sums implements [stream.Replica].
func (r *Recorder) Sums() *stream.Sums {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos == (stream.Pos{}) {
		return nil
	}
	return r.sums.Clone()
}

// Adopt implements [stream.Replica].
func (r *Recorder) Adopt(_ context.Context, l stream.Lineage, _ []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos != (stream.Pos{}) && !l.Follows(r.id, r.pos) {
		return fmt.Errorf("recorder: %w: %s after %s at %s", stream.ErrOtherDatabase, l.ID, r.id, r.pos)
	}
	r.id = l.ID
	return nil
}

// Apply applies one transaction and verifies the state that it leads to.
func (r *Recorder) Apply(_ context.Context, payload io.Reader, n int64, _ stream.More) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keep(r.apply(payload, n))
}

// keep keeps the first error, and wakes who waits. A connection that is cut is none: the same comes again then. The
// caller holds mu.
func (r *Recorder) keep(err error) error {
	if r.err == nil && !wasCut(err) {
		r.err = err
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return err
}

func wasCut(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, context.Canceled)
}

func (r *Recorder) apply(payload io.Reader, n int64) error {
	t, err := stream.NewTxnReader(payload, n)
	if err != nil {
		return err
	}
	if t.Pre() != r.pos {
		return fmt.Errorf("a transaction after %s, want one after %s", t.Pre(), r.pos)
	}
	if err := r.change(t); err != nil {
		return err
	}
	return r.arrive(t.Post())
}

// change applies a transaction's pages and size.
func (r *Recorder) change(t *stream.TxnReader) error {
	h := t.Header()
	r.resize(h.PageSize)
	for {
		pgno, data, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		r.set(pgno, data)
	}
	if r.truncate(h.Commit); r.sums.Len() != h.Commit {
		return fmt.Errorf("%d pages are known at %s, want %d", r.sums.Len(), t.Post(), h.Commit)
	}
	return nil
}

func (r *Recorder) resize(pageSize uint32) {
	if pageSize != r.sums.PageSize() {
		r.sums = stream.NewSums(pageSize)
		clear(r.pages)
	}
}

func (r *Recorder) set(pgno uint32, data []byte) {
	r.sums.Set(pgno, stream.PageSum(pgno, data))
	if pgno == 1 {
		r.page1 = Versionless(data)
	}
	if r.pages != nil {
		r.pages[pgno] = slices.Clone(data)
	}
}

func (r *Recorder) truncate(size uint32) {
	r.sums.Truncate(size)
	for pgno := range r.pages {
		if pgno > size {
			delete(r.pages, pgno)
		}
	}
}

func (r *Recorder) arrive(post stream.Pos) error {
	if got := r.sums.Total(); got != post.PostApplyChecksum {
		return fmt.Errorf("the pages at %s have checksum %s", post, got)
	}
	r.pos = post
	r.history = append(r.history, post)
	return nil
}

// BeginSnapshot begins a snapshot or delta.
func (r *Recorder) BeginSnapshot(_ context.Context, h stream.SnapshotHeader) (stream.SnapshotWriter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.pos == (stream.Pos{}): // the start
	case r.sums.PageSize() == h.PageSize:
		r.deltas++
	default:
		r.resizes++
	}
	r.resize(h.PageSize)
	r.truncate(h.Size)
	return &recorderSnapshot{r}, nil
}

// recorderSnapshot takes a snapshot or delta. Only its end is a state.
type recorderSnapshot struct{ r *Recorder }

// WritePage implements [stream.SnapshotWriter].
func (s *recorderSnapshot) WritePage(pgno uint32, data []byte) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.set(pgno, data)
	return nil
}

// Apply implements [stream.SnapshotWriter].
func (s *recorderSnapshot) Apply(payload io.Reader, n int64) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	t, err := stream.NewTxnReader(payload, n)
	if err == nil {
		err = s.r.change(t)
	}
	return s.r.keep(err)
}

// Commit implements [stream.SnapshotWriter].
func (s *recorderSnapshot) Commit(_ context.Context, until stream.Pos) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.r.keep(s.r.arrive(until))
}

// Abort implements [stream.SnapshotWriter].
func (s *recorderSnapshot) Abort() error { return nil }

// Heard implements [stream.Replica].
func (r *Recorder) Heard(stream.Heartbeat) error { return nil }

// Told implements [stream.Replica].
func (*Recorder) Told(stream.Standing, time.Time) {}

// SetConnected implements [stream.Replica].
func (r *Recorder) SetConnected(connected bool, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected = connected
	r.keep(nil)
}
