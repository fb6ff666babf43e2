package capture

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// FuzzLoad reads any bytes as the checksums of a clean stop: a line that says of which state, and the table. What is
// taken must be the log's state.
func FuzzLoad(f *testing.F) {
	d := stopped(f)
	own, err := d.state.ReadFile(sumsFile)
	if err != nil {
		f.Fatal(err)
	}
	head, table, _ := bytes.Cut(own, []byte("\n"))
	f.Add(append(head, '\n'), table)
	f.Fuzz(func(t *testing.T, head, table []byte) {
		if err := d.state.WriteFile(sumsFile, append(head, table...), 0o600); err != nil {
			t.Fatal(err)
		}
		_, sums, err := d.load()
		if err != nil {
			t.Fatal(err)
		}
		if sums != nil && sums.Total() != d.log.Last().PostApplyChecksum {
			t.Errorf("got checksum %s, want %s", sums.Total(), d.log.Last().PostApplyChecksum)
		}
	})
}

// stopped returns a database that was stopped once, and so has checksums saved.
func stopped(f *testing.F) *Database {
	f.Helper()
	dir := f.TempDir()
	if out, err := exec.Command("sqlite3", filepath.Join(dir, "db"), "PRAGMA page_size=512; CREATE TABLE t(a)").CombinedOutput(); err != nil {
		f.Fatalf("%v: %s", err, out)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	opt := Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	d, err := Open(root, "db", opt)
	if err != nil {
		f.Fatal(err)
	}
	if err := d.Close(); err != nil {
		f.Fatal(err)
	}
	if d, err = Open(root, "db", opt); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := d.Close(); err != nil {
			f.Error(err)
		}
		root.Close()
	})
	return d
}
