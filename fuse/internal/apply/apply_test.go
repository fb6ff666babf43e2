package apply

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"weir/stream"
)

// TestApply runs readers while transactions are applied, for each page size and both kinds of primary.
func TestApply(t *testing.T) {
	for _, size := range []int{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536} {
		for _, mode := range []string{"wal", "delete"} {
			t.Run(fmt.Sprintf("%d %s", size, mode), func(t *testing.T) {
				t.Parallel()
				s, r := newSource(t, size, mode), newReplica(t)
				r.apply(s.payloads...)
				loop := startReader(t, r.dir)
				loop.want("loop", "ok")
				for range 30 {
					r.apply(s.step())
				}
				r.wantState(s)
				n := loop.do("stop")
				loop.want("read", fmt.Sprint(s.n))
				t.Logf("%s reads, %d restarts", n, r.restarts())
				if len(n) > 10 {
					t.Error(n)
				}
			})
		}
	}
}

// wait waits until ok.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

func (r *replica) restarts() uint32 {
	r.Helper()
	if err := r.take(r.ctx()); err != nil {
		r.Fatal(err)
	}
	defer r.give()
	return r.tail.hdr.CheckpointSeq
}

// TestLongReader holds a snapshot over many transactions and checkpoints: it stays what it was,
// applying goes on, and the WAL restarts when it ends.
func TestLongReader(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	for range 20 {
		r.apply(s.step())
	}
	long, other := startReader(t, r.dir), startReader(t, r.dir)
	at := fmt.Sprint(s.n)
	long.want("begin", at)
	before := r.restarts()
	for range 10 {
		for range 20 {
			r.apply(s.step())
		}
		long.want("check", at)
		other.want("read", fmt.Sprint(s.n))
	}
	if got := r.restarts(); got > before+1 { // one is possible, if long reads the database without the WAL
		t.Errorf("got %d restarts of the WAL under a reader, want at most 1", got-before)
	}
	before = r.restarts()
	long.want("check", at)
	long.want("end", "ok")
	wait(t, "the WAL restarts when no reader uses it", func() bool {
		r.apply(s.step())
		return r.restarts() > before
	})
	long.want("read", fmt.Sprint(s.n))
	r.wantState(s)
}

// TestEveryMarkHeld has as many readers at different snapshots as there are read-marks, and more.
func TestEveryMarkHeld(t *testing.T) {
	s, r := newSource(t, 1024, "wal"), newReplica(t)
	r.apply(s.payloads...)
	var readers []*reader
	var at []string
	for range 6 {
		for range 10 {
			r.apply(s.step())
		}
		rd := startReader(t, r.dir)
		rd.want("begin", fmt.Sprint(s.n))
		readers, at = append(readers, rd), append(at, fmt.Sprint(s.n))
	}
	for range 30 {
		r.apply(s.step())
	}
	for i, rd := range readers {
		rd.want("check", at[i])
	}
	for i, rd := range readers {
		rd.want("end", "ok")
		for range 10 {
			r.apply(s.step())
		}
		for j := i + 1; j < len(readers); j++ {
			readers[j].want("check", at[j])
		}
		rd.want("read", fmt.Sprint(s.n))
	}
	r.wantState(s)
}

// TestBusyReaders has readers that overlap without a gap: the WAL restarts nevertheless.
func TestBusyReaders(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	var readers []*reader
	for range 3 {
		rd := startReader(t, r.dir)
		rd.want("loop", "ok")
		readers = append(readers, rd)
	}
	before := r.restarts()
	n := 0
	wait(t, "restarts under load", func() bool {
		r.apply(s.step())
		n++
		return r.restarts() >= before+3
	})
	t.Logf("3 restarts in %d transactions", n)
	for _, rd := range readers {
		if got := rd.do("stop"); len(got) > 10 {
			t.Error(got)
		}
	}
}

// TestMismatch gives the replica a transaction that does not lead to the checksum it claims.
func TestMismatch(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	rd := startReader(t, r.dir)
	rd.want("read", "1")
	good, last := s.grow(50), r.log.Last()
	for name, tc := range map[string]struct {
		payload []byte
		want    error
	}{
		"checksum after":  {forge(t, s.pageSize, last, s.state, s.pos.PostApplyChecksum^1), stream.ErrPosMismatch},
		"checksum before": {forge(t, s.pageSize, stream.Pos{TXID: 1, PostApplyChecksum: last.PostApplyChecksum ^ 1}, s.state, s.pos.PostApplyChecksum), stream.ErrPosMismatch},
		"TXID":            {forge(t, s.pageSize, stream.Pos{TXID: 7, PostApplyChecksum: last.PostApplyChecksum}, s.state, s.pos.PostApplyChecksum), stream.ErrPosMismatch},
		"page size":       {forge(t, 2048, last, s.state, s.pos.PostApplyChecksum), stream.ErrPageSize},
		"half":            {good[:len(good)/2], io.ErrUnexpectedEOF},
		"damaged":         {damaged(good), stream.ErrCorrupt},
	} {
		err := r.Apply(r.ctx(), bytes.NewReader(tc.payload), int64(len(good)), noMore)
		if name != "half" {
			err = r.Apply(r.ctx(), bytes.NewReader(tc.payload), int64(len(tc.payload)), noMore)
		}
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
		rd.want("read", "1")
		if _, pos := r.Pos(); pos != last || r.log.Last() != last || r.log.Published() != last {
			t.Errorf("%s: got position %s, log %s; want %s", name, pos, r.log.Last(), last)
		}
	}
	r.apply(good)
	rd.want("read", "2")
	r.wantState(s)
}

func damaged(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}
