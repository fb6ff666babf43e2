package apply

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/superfly/ltx"
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
