package apply

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/superfly/ltx"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// toldMount notes what gets another size.
type toldMount struct {
	Mount
	mu    sync.Mutex
	names map[string]bool // guarded by mu
}

func (m *toldMount) Resize(name string, size int64) error {
	m.mu.Lock()
	m.names[name] = true
	m.mu.Unlock()
	return m.Mount.Resize(name, size)
}

// TestLongWAL pins a snapshot until the wal-index needs more than one chunk: the mount is told
// before readers need it.
func TestLongWAL(t *testing.T) {
	s, r := newSource(t, 512, "wal"), newReplica(t)
	told := &toldMount{Mount: r.attached(), names: make(map[string]bool)}
	r.Database.mu.Lock()
	r.Database.mount, r.index.mount, r.tail.mount = told, told, told
	r.Database.mu.Unlock()
	r.apply(s.payloads...)
	r.apply(s.grow(10000))
	long, rd := startReader(t, r.dir), startReader(t, r.dir)
	long.want("begin", "2")
	for !r.index.has(chunkRegions) {
		s.exec("BEGIN")
		s.exec("UPDATE t SET v=randomblob(length(v))")
		r.apply(s.commit())
		rd.want("begin", fmt.Sprint(s.n))
		rd.want("end", "ok")
	}
	told.mu.Lock()
	if !told.names["db"+dbfile.SuffixSHM] {
		t.Errorf("the mount was told of %v, want the wal-index", told.names)
	}
	told.mu.Unlock()
	long.want("check", "2")
	long.want("end", "ok")
	before := r.restarts()
	wait(t, "the WAL restarts", func() bool {
		r.apply(s.churn())
		return r.restarts() > before
	})
	rd.want("read", fmt.Sprint(s.n))
	r.wantState(s)
	if fi, err := r.tail.file.Stat(); err != nil || fi.Size() > 10<<20 {
		t.Errorf("the WAL still has %d bytes (%v)", fi.Size(), err)
	}
}

// TestServe takes a snapshot from a replica while transactions are applied to it, and feeds it to another.
func TestServe(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			s, up, down := newSource(t, 1024, mode), newReplica(t), newReplica(t)
			up.apply(s.payloads...)
			up.apply(s.grow(2000))
			var wg sync.WaitGroup
			stop := make(chan struct{})
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						up.apply(s.step())
					}
				}
			})
			var w stream.SnapshotWriter
			var from stream.Pos
			n := 0
			until, err := up.Snapshot(t.Context(), nil, func(h stream.SnapshotHeader) (err error) {
				from = h.Pos
				w, err = down.BeginSnapshot(t.Context(), h)
				return err
			}, func(pgno uint32, data []byte) error {
				if n++; n%50 == 0 {
					wait(t, "more is applied", func() bool { _, pos := up.Pos(); return pos.TXID > from.TXID+stream.TXID(n/50) })
				}
				return w.WritePage(pgno, data)
			})
			close(stop)
			wg.Wait()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range s.payloads[from.TXID:until.TXID] {
				if err := w.Apply(bytes.NewReader(p), int64(len(p))); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Commit(t.Context(), until); err != nil {
				t.Fatal(err)
			}
			down.apply(s.payloads[until.TXID:]...)
			down.wantState(s)
			t.Logf("snapshot from %s until %s", from, until)
		})
	}
}

// TestOverlay compares an overlay with a table that takes the same changes.
func TestOverlay(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	sum := func() stream.Checksum { return ltx.ChecksumFlag | stream.Checksum(rnd.Uint64()) }
	base := stream.NewSums(65536)
	for range 300 {
		o, want := newOverlay(base), base.Clone()
		for range rnd.IntN(20) {
			if rnd.IntN(4) == 0 {
				n := uint32(rnd.IntN(int(want.Len()) + 1))
				o.resize(n)
				want.Truncate(n)
				continue
			}
			pgno, v := uint32(1+rnd.IntN(60)), sum()
			o.set(pgno, v)
			want.Set(pgno, v)
		}
		if o.total() != want.Total() || o.size != want.Len() {
			t.Fatalf("got %s of %d pages, want %s of %d", o.total(), o.size, want.Total(), want.Len())
		}
		before := base.Total()
		if newOverlay(base).total() != before {
			t.Fatal("an overlay changed the table")
		}
		if rnd.IntN(2) == 0 {
			continue
		}
		o.apply()
		if base.Total() != want.Total() || base.Len() != want.Len() {
			t.Fatalf("applied: got %s of %d pages, want %s of %d", base.Total(), base.Len(), want.Total(), want.Len())
		}
	}
}
