package apply

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// backlog is transactions that are all here: payload and more are those of [stream.Replica].
type backlog struct {
	payloads [][]byte
	reading  *bytes.Reader
}

func (b *backlog) Read(p []byte) (int, error) { return b.reading.Read(p) }

func (b *backlog) more() (int64, bool, error) {
	if b.reading != nil && b.reading.Len() > 0 {
		return 0, false, fmt.Errorf("%d bytes were not read", b.reading.Len())
	}
	if len(b.payloads) == 0 {
		return 0, false, nil
	}
	next := b.payloads[0]
	b.payloads, b.reading = b.payloads[1:], bytes.NewReader(next)
	return int64(len(next)), true, nil
}

// applyAll applies transactions that are all here.
func (r *replica) applyAll(payloads ...[]byte) error {
	r.Helper()
	b := &backlog{payloads: payloads}
	n, _, _ := b.more()
	defer r.checkIndex()
	return r.Apply(r.ctx(), b, n, b.more)
}

func (r *replica) mustApplyAll(payloads ...[]byte) {
	r.Helper()
	if err := r.applyAll(payloads...); err != nil {
		r.Fatal(err)
	}
}

// published is the wal-index header that readers have.
func (r *replica) published() dbfile.IndexHeader {
	r.Database.mu.RLock()
	defer r.Database.mu.RUnlock()
	return r.hdr
}

// A backlog is published once, with the last image of each page, and every transaction of it is in the log.
func TestBacklog(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	r.apply(s.grow(40))
	before, at := r.published(), s.pos
	var positions []stream.Pos
	pages := make(map[uint32]bool)
	for range 10 {
		s.churn()
		positions = append(positions, s.pos)
		for _, p := range pagesIn(t, s.payloads[len(s.payloads)-1]) {
			pages[p] = true
		}
	}
	r.mustApplyAll(s.payloads[len(s.payloads)-10:]...)
	after := r.published()
	if after.Change != before.Change+1 {
		t.Errorf("got %d headers published, want 1", after.Change-before.Change)
	}
	if got, want := int(after.MxFrame-before.MxFrame), len(pages); got != want {
		t.Errorf("got %d frames, want one for each of %d pages", got, want)
	}
	startReader(t, r.dir).want("read", fmt.Sprint(s.n))
	r.wantState(s)
	r.wantLogged(at, positions)
	r = r.reopen()
	r.wantState(s)
	r.wantLogged(at, positions)
}

// wantLogged compares the positions in the log from one on.
func (r *replica) wantLogged(at stream.Pos, want []stream.Pos) {
	r.Helper()
	in, err := r.log.Reader(at)
	if err != nil {
		r.Fatal(err)
	}
	defer in.Close()
	for _, pos := range want {
		rec, err := in.Next(r.ctx())
		if err != nil {
			r.Fatal(err)
		}
		if rec.Pos != pos {
			r.Errorf("log: got %s, want %s", rec.Pos, pos)
		}
	}
}

// pagesIn lists the pages of a transaction.
func pagesIn(t *testing.T, payload []byte) (pages []uint32) {
	t.Helper()
	in, err := stream.NewTxnReader(bytes.NewReader(payload), int64(len(payload)))
	for err == nil {
		var pgno uint32
		if pgno, _, err = in.Next(); err == nil {
			pages = append(pages, pgno)
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return pages
}

// TestBacklogs applies all kinds of transactions in backlogs of all lengths, under readers.
func TestBacklogs(t *testing.T) {
	for _, size := range []int{512, 4096, 65536} {
		for _, mode := range []string{"wal", "delete"} {
			t.Run(fmt.Sprintf("%d %s", size, mode), func(t *testing.T) {
				t.Parallel()
				s, r := newSource(t, size, mode), newReplica(t)
				r.apply(s.payloads...)
				loop := startReader(t, r.dir)
				loop.want("loop", "ok")
				for n := 1; n < 14; n++ {
					for range n {
						s.step()
					}
					r.mustApplyAll(s.payloads[len(s.payloads)-n:]...)
					r.wantState(s)
				}
				if n := loop.do("stop"); len(n) > 10 {
					t.Error(n)
				}
				loop.want("read", fmt.Sprint(s.n))
				r = r.reopen()
				r.wantState(s)
			})
		}
	}
}

// From the first transaction on, all come in one go: also those that are too long for one.
func TestBacklogFromNothing(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	for i := range 12 {
		s.step()
		if i == 6 {
			s.grow(9 * batchBytes / 250) // random bytes, and some hundred pages
			s.shrink()
		}
	}
	r.mustApplyAll(s.payloads...)
	startReader(t, r.dir).want("read", fmt.Sprint(s.n))
	r.wantState(s)
	r.wantLogged(stream.Pos{}, nil)
	r = r.reopen()
	r.wantState(s)
}

// A transaction in a backlog that is not what it should be is refused as it is alone: what came before it is published.
func TestBacklogMismatch(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	r.apply(s.grow(100))
	rd := startReader(t, r.dir)
	for name, tc := range map[string]struct {
		garble func(good []byte, last stream.Pos) []byte
		want   error
	}{
		"checksum after": {func(_ []byte, last stream.Pos) []byte {
			return forge(t, s.pageSize, last, s.state, s.pos.PostApplyChecksum^1)
		}, stream.ErrPosMismatch},
		"TXID": {func(_ []byte, last stream.Pos) []byte {
			return forge(t, s.pageSize, stream.Pos{TXID: last.TXID + 1, PostApplyChecksum: last.PostApplyChecksum}, s.state, s.pos.PostApplyChecksum)
		}, stream.ErrPosMismatch},
		"page size": {func(_ []byte, last stream.Pos) []byte {
			return forge(t, 2048, last, s.state, s.pos.PostApplyChecksum)
		}, stream.ErrPageSize},
		"damaged": {func(good []byte, _ stream.Pos) []byte { return damaged(good) }, stream.ErrCorrupt},
		"half":    {func(good []byte, _ stream.Pos) []byte { return good[:len(good)/2] }, stream.ErrCorrupt},
	} {
		first, second := s.churn(), s.churn()
		last, state, n := s.pos, s.state, s.n
		third, fourth := s.churn(), s.churn()
		err := r.applyAll(first, second, tc.garble(third, last), fourth)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		rd.want("read", fmt.Sprint(n))
		if _, pos := r.Pos(); pos != last || r.log.Last() != last || r.log.Published() != last {
			t.Errorf("%s: got position %s, log %s; want %s", name, pos, r.log.Last(), last)
		}
		if got := pagesOf(t, r); !bytes.Equal(got, state) {
			t.Errorf("%s: the pages are not those of %s", name, last)
		}
		r.mustApplyAll(third, fourth)
		r.wantState(s)
	}
}

// failingMount fails to show frames to readers, from some call on.
type failingMount struct {
	Mount
	left int
}

var errShow = errors.New("they can't be shown")

func (m *failingMount) Wrote(name string, off, n int64) error {
	if m.left--; m.left < 0 {
		return errShow
	}
	return m.Mount.Wrote(name, off, n)
}

// Where a backlog can't be published nothing of it is: not in the log either.
func TestBacklogNotShown(t *testing.T) {
	s, r := newSource(t, 1024, "wal"), newReplica(t)
	r.apply(s.payloads...)
	at, n := s.pos, s.n
	s.grow(20)
	s.churn()
	failing := &failingMount{Mount: r.attached()}
	r.Database.mu.Lock()
	r.Database.mount = failing
	r.Database.mu.Unlock()
	if err := r.applyAll(s.payloads[1:]...); !errors.Is(err, errShow) {
		t.Fatalf("got %v, want %v", err, errShow)
	}
	if _, pos := r.Pos(); pos != at || r.log.Last() != at || r.log.Published() != at {
		t.Errorf("got position %s, log %s; want %s", pos, r.log.Last(), at)
	}
	startReader(t, r.dir).want("read", fmt.Sprint(n))
	failing.left = 1 << 20
	r.mustApplyAll(s.payloads[1:]...)
	r.wantState(s)
}
