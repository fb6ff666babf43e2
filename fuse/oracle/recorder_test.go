package oracle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"weir/stream"
)

// recorder follows a stream and keeps the state that it leads to. It implements [stream.Replica].
type recorder struct {
	mu        sync.Mutex
	id        string
	pos       stream.Pos
	st        *state
	err       error             // what must not have happened
	changed   chan struct{}     // closed and replaced after each transaction
	forgiving bool              // a delta may come
	passed    []stream.Checksum // of the states since take
}

func newRecorder() *recorder {
	return &recorder{st: &state{pages: make(map[uint32][]byte), sums: stream.NewSums(0)}, changed: make(chan struct{})}
}

var _ = (stream.Replica)((*recorder)(nil))

func (r *recorder) Pos() (string, stream.Pos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id, r.pos
}

func (r *recorder) Sums() *stream.Sums {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id == "" || r.pos == (stream.Pos{}) {
		return nil
	}
	return r.st.sums.Clone()
}

func (r *recorder) Adopt(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id = id
	return nil
}

// Apply applies one transaction and verifies the state that it leads to.
func (r *recorder) Apply(_ context.Context, payload io.Reader, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.apply(payload, n); err != nil {
		return r.fail(err)
	}
	return nil
}

// fail keeps err, and ends what waits for the recorder. The caller holds mu.
func (r *recorder) fail(err error) error {
	if r.err == nil {
		r.err = err
	}
	r.wake()
	return err
}

func (r *recorder) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) apply(payload io.Reader, n int64) error {
	t, err := stream.NewTxnReader(payload, n)
	if err != nil {
		return err
	}
	if t.Pre() != r.pos {
		return fmt.Errorf("a transaction after %s, want one after %s", t.Pre(), r.pos)
	}
	h := t.Header()
	if h.PageSize != r.st.pageSize {
		r.st = &state{pageSize: h.PageSize, pages: make(map[uint32][]byte), sums: stream.NewSums(h.PageSize)}
	}
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
	r.st.size = h.Commit
	return r.end(t.Post())
}

func (r *recorder) set(pgno uint32, data []byte) {
	r.st.pages[pgno] = append([]byte(nil), data...)
	r.st.sums.Set(pgno, stream.PageSum(pgno, data))
}

func (r *recorder) end(post stream.Pos) error {
	r.st.sums.Truncate(r.st.size)
	for pgno := range r.st.pages {
		if pgno > r.st.size {
			delete(r.st.pages, pgno)
		}
	}
	if got := r.st.sums.Total(); got != post.PostApplyChecksum || len(r.st.pages) != int(r.st.size) {
		return fmt.Errorf("the pages at %s have checksum %s, and %d of them are known of %d", post, got, len(r.st.pages), r.st.size)
	}
	r.pos = post
	r.passed = append(r.passed, post.PostApplyChecksum)
	r.wake()
	return nil
}

// BeginSnapshot takes a snapshot as the start. After that there must be none, but where the page size changes: there a
// replica begins a new log.
func (r *recorder) BeginSnapshot(_ context.Context, id string, h stream.SnapshotHeader) (stream.SnapshotWriter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos != (stream.Pos{}) && r.st.pageSize == h.PageSize && !r.forgiving {
		return nil, r.fail(fmt.Errorf("the stream broke off after %s: a delta to %s", r.pos, h.Pos))
	}
	r.id, r.forgiving = id, false
	if h.PageSize == r.st.pageSize {
		r.st.size = h.Size
		return &recorderSnapshot{r}, nil // a delta
	}
	r.st = &state{pageSize: h.PageSize, size: h.Size, pages: make(map[uint32][]byte), sums: stream.NewSums(h.PageSize)}
	return &recorderSnapshot{r}, nil
}

// forgive lets the stream break off once.
func (r *recorder) forgive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgiving = true
}

// recorderSnapshot takes a recorder's first pages.
type recorderSnapshot struct{ r *recorder }

func (s *recorderSnapshot) WritePage(pgno uint32, data []byte) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.r.set(pgno, data)
	return nil
}

func (s *recorderSnapshot) Apply(payload io.Reader, n int64) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	t, err := stream.NewTxnReader(payload, n)
	if err != nil {
		return s.r.fail(err)
	}
	for {
		pgno, data, err := t.Next()
		if errors.Is(err, io.EOF) {
			s.r.st.size = t.Header().Commit
			return nil
		}
		if err != nil {
			return s.r.fail(err)
		}
		s.r.set(pgno, data)
	}
}

func (s *recorderSnapshot) Commit(_ context.Context, until stream.Pos) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if err := s.r.end(until); err != nil {
		return s.r.fail(err)
	}
	return nil
}

func (s *recorderSnapshot) Abort() error { return nil }

func (r *recorder) Heard(stream.Pos, time.Time) {}

func (r *recorder) SetConnected(bool, error) {}

// await waits until the recorder's state satisfies done.
func (r *recorder) await(timeout time.Duration, done func(stream.Pos, *state) bool) (stream.Pos, error) {
	deadline := time.After(timeout)
	for {
		r.mu.Lock()
		pos, err, ok, changed := r.pos, r.err, done(r.pos, r.st), r.changed
		r.mu.Unlock()
		if ok || err != nil {
			return pos, err
		}
		select {
		case <-changed:
		case <-deadline:
			return pos, errLate
		}
	}
}

// errLate says that what was waited for did not come.
var errLate = errors.New("it did not come")

// take returns the checksums of the states since the last call.
func (r *recorder) take() []stream.Checksum {
	r.mu.Lock()
	defer r.mu.Unlock()
	passed := r.passed
	r.passed = nil
	return passed
}

// with runs f on the recorder's state.
func (r *recorder) with(f func(stream.Pos, *state)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.pos, r.st)
}
