package capture

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// A power failure with synchronous=OFF leaves a page 1 in the file that is none, or not the database's, and a good one in
// the WAL. SQLite opens it. Weir goes on behind what it has, and begins anew where it has nothing.
func TestHeaderInWAL(t *testing.T) {
	for name, damage := range map[string]func(r *rig){
		"zeros":           func(r *rig) { r.overwrite(make([]byte, 4096)) },
		"garbage":         func(r *rig) { r.overwrite(filled(0xa5)) },
		"other page size": func(r *rig) { r.overwrite(r.withPageSize(512)) },
		"other size":      func(r *rig) { r.overwrite(r.withPageSize(4096)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.close()
			r.killed("PRAGMA journal_mode=WAL", "CREATE TABLE u(a)", "INSERT INTO t VALUES(randomblob(10000))")
			r.open()
			captured := r.d.log.Published().TXID
			r.close()
			r.killed("INSERT INTO t VALUES(randomblob(10000))")
			want := r.asSQLiteReads()
			damage(r)
			r.open()
			r.at(captured+1, want)
			r.close()
			if err := os.RemoveAll(filepath.Join(r.dir, state.Dir)); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.at(1, want)
		})
	}
}

// A file of less than a header, and a WAL with all pages.
func TestHeaderOnlyInWAL(t *testing.T) {
	r := &rig{TB: t, dir: t.TempDir()}
	r.killed("PRAGMA journal_mode=WAL", "CREATE TABLE t(a)", "INSERT INTO t VALUES(1)")
	want := r.asSQLiteReads()
	if err := os.Truncate(r.path(""), 50); err != nil {
		t.Fatal(err)
	}
	r.open()
	defer r.close()
	r.at(1, want)
}

// overwrite puts another page 1 into the file.
func (r *rig) overwrite(page1 []byte) {
	r.Helper()
	f, err := os.OpenFile(r.path(""), os.O_WRONLY, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(page1, 0); err != nil {
		r.Fatal(err)
	}
}

// withPageSize is a valid page 1 of another database, of one page.
func (r *rig) withPageSize(n int) []byte {
	r.Helper()
	other := &rig{TB: r.TB, dir: r.TempDir()}
	other.shell("PRAGMA page_size=" + strconv.Itoa(n) + "; VACUUM")
	page1, err := os.ReadFile(other.path(""))
	if err != nil {
		r.Fatal(err)
	}
	return page1
}

// asSQLiteReads is the database with its WAL, as SQLite reads it.
func (r *rig) asSQLiteReads() []byte {
	r.Helper()
	c := &rig{TB: r.TB, dir: r.TempDir()}
	for _, suffix := range []string{"", dbfile.SuffixWAL} {
		b, err := os.ReadFile(r.path(suffix))
		if err == nil {
			err = os.WriteFile(c.path(suffix), b, 0o600)
		}
		if err != nil {
			r.Fatal(err)
		}
	}
	c.shell("PRAGMA wal_checkpoint(TRUNCATE)")
	b, err := os.ReadFile(c.path(""))
	if err != nil {
		r.Fatal(err)
	}
	return b
}

// at compares what is captured with the transaction and the pages that it is to be.
func (r *rig) at(txid stream.TXID, pages []byte) {
	r.Helper()
	r.check(txid)
	sums, buf := stream.NewSums(4096), bytes.NewReader(pages)
	for pgno, page := uint32(1), make([]byte, 4096); buf.Len() > 0; pgno++ {
		if _, err := buf.Read(page); err != nil {
			r.Fatal(err)
		}
		sums.Set(pgno, stream.PageSum(pgno, page))
	}
	if got, want := r.d.log.Published().PostApplyChecksum, sums.Total(); got != want {
		r.Errorf("checksum of what is captured is %s, of what SQLite reads %s", got, want)
	}
}
