package apply

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"weir/fuse/internal/state"
	"weir/stream"
)

const testID = "0123456789abcdef0123456789abcdef"

// TestSnapshot gives a replica that has nothing a snapshot during which transactions commit.
func TestSnapshot(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			s, r := newSource(t, 4096, mode), newReplica(t)
			s.grow(300)
			state, pos := s.state, s.pos
			then := [][]byte{s.grow(100), s.shrink(), s.churn()}
			select {
			case <-r.Ready():
				t.Error("ready without a database")
			default:
			}
			if err := r.snapshotOf(s, testID, state, pos, nil, then...); err != nil {
				t.Fatal(err)
			}
			<-r.Ready()
			if id, _ := r.Pos(); id != testID {
				t.Errorf("got identity %s, want %s", id, testID)
			}
			r.wantState(s)
			startReader(t, r.dir).want("read", fmt.Sprint(s.n))
			r.apply(s.churn())
			r = r.reopen()
			r.wantState(s)
		})
	}
}

// The status says how far a snapshot is, also where pages come once more, until it has ended.
func TestSnapshotReceived(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	s.grow(10)
	want := func(page, pages uint32) {
		t.Helper()
		if s := r.Status(); s.SnapshotPage != page || s.SnapshotPages != pages {
			t.Errorf("got page %d of %d, want %d of %d", s.SnapshotPage, s.SnapshotPages, page, pages)
		}
	}
	want(0, 0)
	pages := uint32(len(s.state) / 4096)
	for _, commit := range []bool{false, true} {
		w, err := r.BeginSnapshot(r.ctx(), stream.SnapshotHeader{Pos: s.pos, PageSize: 4096, Size: pages})
		if err != nil {
			t.Fatal(err)
		}
		want(0, pages)
		for i := range pages + 1 {
			pgno := 1 + i%pages // the first comes once more
			if err := w.WritePage(pgno, s.state[4096*(pgno-1):][:4096]); err != nil {
				t.Fatal(err)
			}
			if i == 2 {
				want(3, pages)
			}
		}
		want(pages, pages)
		if commit {
			err = w.Commit(r.ctx(), s.pos)
		} else {
			err = w.Abort()
		}
		if err != nil {
			t.Fatal(err)
		}
		want(0, 0)
	}
	r.wantState(s)
}

// TestSnapshotRefused ends snapshots that do not lead where they should: nothing is published.
func TestSnapshotRefused(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	s.grow(10)
	wrong := bytes.Clone(s.state)
	wrong[5000]++
	if err := r.snapshotOf(s, testID, wrong, s.pos, nil); !errors.Is(err, stream.ErrPosMismatch) {
		t.Errorf("got %v, want %v", err, stream.ErrPosMismatch)
	}
	if r.Sums() != nil {
		t.Error("a refused snapshot is the database")
	}
	if err := r.snapshotOf(s, testID, s.state, s.pos, nil); err != nil {
		t.Fatal(err)
	}
	before := s.pos
	s.grow(10)
	wrong = bytes.Clone(s.state)
	wrong[9000]++
	rd := startReader(t, r.dir)
	if err := r.snapshotOf(s, testID, wrong, s.pos, r.Sums()); !errors.Is(err, stream.ErrPosMismatch) {
		t.Errorf("delta: got %v, want %v", err, stream.ErrPosMismatch)
	}
	if _, pos := r.Pos(); pos != before {
		t.Errorf("got position %s, want %s", pos, before)
	}
	rd.want("read", "2")
	if err := r.snapshotOf(s, "ffffffffffffffffffffffffffffffff", s.state, s.pos, r.Sums()); !errors.Is(err, stream.ErrOtherDatabase) {
		t.Errorf("other identity: got %v, want %v", err, stream.ErrOtherDatabase)
	}
	r.apply(s.payloads[2])
	r.wantState(s)
	rd.want("read", "3")
}

// TestDelta brings a replica that missed transactions up to date while readers read.
func TestDelta(t *testing.T) {
	for _, size := range []int{512, 4096, 65536} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s, r := newSource(t, size, "delete"), newReplica(t)
			s.grow(500)
			if err := r.snapshotOf(s, testID, s.state, s.pos, nil); err != nil {
				t.Fatal(err)
			}
			long, loop := startReader(t, r.dir), startReader(t, r.dir)
			long.want("begin", "2")
			loop.want("loop", "ok")
			for range 5 {
				for range 6 {
					s.step()
				}
				state, pos, have := s.state, s.pos, r.Sums()
				then := [][]byte{s.step(), s.step(), s.step()}
				if err := r.snapshotOf(s, testID, state, pos, have, then...); err != nil {
					t.Fatal(err)
				}
				r.wantState(s)
				long.want("check", "2")
				r.apply(s.step(), s.step())
			}
			if got := loop.do("stop"); len(got) > 10 {
				t.Error(got)
			}
			long.want("end", "ok")
			long.want("read", fmt.Sprint(s.n))
			r = r.reopen()
			r.wantState(s)
		})
	}
}

// TestAbort ends snapshots half way.
func TestAbort(t *testing.T) {
	s, r := newSource(t, 1024, "wal"), newReplica(t)
	h := stream.SnapshotHeader{Pos: s.pos, PageSize: 1024, Size: uint32(len(s.state) / 1024)}
	for range 2 {
		w, err := r.BeginSnapshot(r.ctx(), h)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := w.WritePage(uint32(i+1), make([]byte, 1024)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Abort(); err != nil {
			t.Fatal(err)
		}
		r.apply(s.payloads[r.log.Last().TXID:]...)
		r.wantState(s)
		startReader(t, r.dir).want("read", fmt.Sprint(s.n))
		s.grow(30)
		h.Pos, h.Size = s.pos, uint32(len(s.state)/1024)
	}
}

// TestPageSizeChange gives the replica a database with another page size, as after VACUUM, while
// connections are open.
func TestPageSizeChange(t *testing.T) {
	s, r := newSource(t, 4096, "delete"), newReplica(t)
	s.grow(200)
	r.apply(s.payloads...)
	idle, loop := startReader(t, r.dir), startReader(t, r.dir)
	idle.want("read", "2")
	loop.want("loop", "ok")
	for _, size := range []int{512, 16384, 4096} {
		s.exec("PRAGMA page_size=%d", size)
		s.exec("VACUUM")
		s.pageSize, s.state = size, nil
		s.churn()
		if err := r.snapshotOf(s, r.log.ID(), s.state, s.pos, nil); err != nil {
			t.Fatal(err)
		}
		idle.want("read", fmt.Sprint(s.n))
		for range 5 {
			r.apply(s.step())
		}
		r.wantState(s)
		idle.want("read", fmt.Sprint(s.n))
	}
	if got := loop.do("stop"); len(got) > 10 {
		t.Error(got)
	}
	r = r.reopen()
	r.wantState(s)
}

// TestReplacementCrash finds a replacement that was being copied over the database.
func TestReplacementCrash(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	r.apply(s.grow(50))
	r.close()
	other := newSource(t, 1024, "wal")
	other.grow(100)
	if err := os.WriteFile(filepath.Join(r.dir, state.Dir, "db", replacementName), other.state, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "db"), make([]byte, 9999), 0o600); err != nil {
		t.Fatal(err)
	}
	r = openReplica(t, r.dir)
	startReader(t, r.dir).want("read", "2")
	if sums := r.Sums(); sums.PageSize() != 1024 {
		t.Errorf("got page size %d, want 1024", sums.PageSize())
	}
}
