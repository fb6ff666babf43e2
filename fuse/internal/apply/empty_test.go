package apply

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/superfly/ltx"

	"weir/stream"
)

// TestEmptied takes all pages away, as where the upstream's database is removed, and brings others.
func TestEmptied(t *testing.T) {
	for _, size := range []int{512, 4096, 65536} {
		s, r := newSource(t, size, "delete"), newReplica(t)
		r.apply(s.payloads...)
		_, pos := r.Pos()
		gone, after := encodeTxn(t, size, pos, nil, nil)
		r.apply(gone)
		query := func(want string) {
			t.Helper()
			out, err := exec.Command("sqlite3", "file:"+filepath.Join(r.dir, "db")+"?mode=ro", "PRAGMA integrity_check; SELECT count(*) FROM sqlite_schema; PRAGMA page_size").CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("page size %d: %q, %v, want %q", size, out, err, want)
			}
		}
		want := "ok\n0\n" + map[int]string{512: "512", 4096: "4096", 65536: "65536"}[size] + "\n"
		query(want)
		r = r.reopen()
		query(want)
		if _, got := r.Pos(); got != after || got.PostApplyChecksum != ltx.ChecksumFlag {
			t.Errorf("page size %d: reopened at %s, want %s", size, got, after)
		}
		if sums := r.Sums(); sums.Len() != 0 {
			t.Errorf("page size %d: %d pages, want none", size, sums.Len())
		}
		fresh := newSource(t, size, "delete")
		pages, _ := encodeTxn(t, size, after, nil, fresh.state)
		r.apply(pages)
		query("ok\n2\n" + want[len("ok\n0\n"):])
	}
}

// TestSnapshotOfNothing feeds replicas from a database without a page, and then its first pages.
func TestSnapshotOfNothing(t *testing.T) {
	const size = 1024
	at := stream.Pos{TXID: 7, PostApplyChecksum: ltx.ChecksumFlag}
	for _, before := range []int{0, 1024, 4096} { // the page size of what the replica has
		r := newReplica(t)
		if before > 0 {
			s := newSource(t, before, "wal")
			if err := r.snapshotOf(s, testID, s.state, s.pos, nil); err != nil {
				t.Fatal(err)
			}
		}
		w, err := r.BeginSnapshot(r.ctx(), stream.SnapshotHeader{Pos: at, PageSize: size})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(r.ctx(), at); err != nil {
			t.Fatal(err)
		}
		if _, pos := r.Pos(); pos != at {
			t.Errorf("over page size %d: got position %s, want %s", before, pos, at)
		}
		if before > 0 {
			startReader(t, r.dir).want("tables", "0")
		}
		fresh := newSource(t, size, "delete")
		pages, after := encodeTxn(t, size, at, nil, fresh.state)
		if before == 4096 {
			if err := r.snapshotOf(fresh, testID, fresh.state, fresh.pos, nil); err != nil {
				t.Fatal(err)
			}
		} else if r.apply(pages); r.log.Last() != after {
			t.Errorf("over page size %d: got %s, want %s", before, r.log.Last(), after)
		}
		startReader(t, r.dir).want("read", "1")
	}
}
