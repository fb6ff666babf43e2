package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"weir/stream"
)

// recorder follows a stream and keeps the checksums of the pages that it leads to. It implements [stream.Replica].
type recorder struct {
	mu      sync.Mutex
	id      string
	pos     stream.Pos
	sums    *stream.Sums
	page1   stream.Checksum // without its file format versions
	deltas  int             // breaks in the stream
	err     error           // what must not have happened
	history map[stream.TXID]stream.Checksum
	changed chan struct{} // closed and replaced after each transaction

	connected bool
}

func newRecorder() *recorder {
	return &recorder{sums: stream.NewSums(0), history: make(map[stream.TXID]stream.Checksum), changed: make(chan struct{})}
}

var _ = (stream.Replica)((*recorder)(nil))

// Pos implements [stream.Replica].
func (r *recorder) Pos() (string, stream.Pos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id, r.pos
}

// Sums implements [stream.Replica].
func (r *recorder) Sums() *stream.Sums {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos == (stream.Pos{}) {
		return nil
	}
	return r.sums.Clone()
}

// Adopt implements [stream.Replica].
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
	return r.keep(r.apply(payload, n, true))
}

// keep keeps the first error, and wakes who waits. The caller holds mu.
func (r *recorder) keep(err error) error {
	if r.err == nil {
		r.err = err
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return err
}

// apply applies a transaction; within a snapshot only its end is a state.
func (r *recorder) apply(payload io.Reader, n int64, verify bool) error {
	t, err := stream.NewTxnReader(payload, n)
	if err != nil {
		return err
	}
	if verify && t.Pre() != r.pos {
		return fmt.Errorf("a transaction after %s, want one after %s", t.Pre(), r.pos)
	}
	h := t.Header()
	if h.PageSize != r.sums.PageSize() {
		r.sums = stream.NewSums(h.PageSize)
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
	r.sums.Truncate(h.Commit)
	if !verify {
		return nil
	}
	if r.sums.Len() != h.Commit {
		return fmt.Errorf("%d pages are known at %s, want %d", r.sums.Len(), t.Post(), h.Commit)
	}
	return r.arrive(t.Post())
}

func (r *recorder) set(pgno uint32, data []byte) {
	r.sums.Set(pgno, stream.PageSum(pgno, data))
	if pgno == 1 {
		r.page1 = versionless(data)
	}
}

func (r *recorder) arrive(post stream.Pos) error {
	if got := r.sums.Total(); got != post.PostApplyChecksum {
		return fmt.Errorf("the pages at %s have checksum %s", post, got)
	}
	r.pos = post
	r.history[post.TXID] = post.PostApplyChecksum
	return nil
}

// BeginSnapshot begins a snapshot or delta.
func (r *recorder) BeginSnapshot(_ context.Context, id string, h stream.SnapshotHeader) (stream.SnapshotWriter, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos != (stream.Pos{}) {
		r.deltas++
	}
	r.id = id
	if r.sums.PageSize() != h.PageSize {
		r.sums = stream.NewSums(h.PageSize)
	}
	r.sums.Truncate(h.Size)
	return &recorderSnapshot{r}, nil
}

// recorderSnapshot takes a snapshot or delta.
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
	return s.r.keep(s.r.apply(payload, n, false))
}

func (s *recorderSnapshot) Commit(_ context.Context, until stream.Pos) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.r.keep(s.r.arrive(until))
}

// Abort implements [stream.SnapshotWriter].
func (s *recorderSnapshot) Abort() error { return nil }

// Heard implements [stream.Replica].
func (r *recorder) Heard(stream.Pos, time.Time) {}

// SetConnected implements [stream.Replica].
func (r *recorder) SetConnected(connected bool, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected = connected
	r.keep(nil)
}

// start waits until the recorder is connected.
func (r *recorder) start() error {
	return r.await(func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.connected {
			return errors.New("not connected")
		}
		return nil
	})
}

// seen returns the position and the checksums of its pages as [conn.see] has them.
func (r *recorder) seen() (stream.Pos, *stream.Sums) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sums := r.sums.Clone()
	if sums.Len() > 0 {
		sums.Set(1, r.page1)
	}
	return r.pos, sums
}

// await waits until done is nil, and returns what it is at the end.
func (r *recorder) await(done func() error) error {
	for deadline := time.After(late); ; {
		r.mu.Lock()
		err, changed := r.err, r.changed
		r.mu.Unlock()
		if err != nil {
			return err
		}
		if err = done(); err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-deadline:
			return fmt.Errorf("after %v: %w", late, err)
		}
	}
}

// late is how long a stream has to show a commit.
const late = 15 * time.Second

// diff says where two databases differ, nil if nowhere.
func diff(got, want *stream.Sums) error {
	if got.Len() == 0 && want.Len() == 0 {
		return nil
	}
	if got.PageSize() != want.PageSize() || got.Len() != want.Len() {
		return fmt.Errorf("%d pages of %d bytes, want %d of %d", got.Len(), got.PageSize(), want.Len(), want.PageSize())
	}
	for pgno := uint32(1); pgno <= got.Len(); pgno++ {
		if got.Page(pgno) != want.Page(pgno) {
			return fmt.Errorf("page %d of %d is another one", pgno, got.Len())
		}
	}
	return nil
}
