package fuse

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// copyRange copies a file by copy_file_range(2).
func copyRange(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	for {
		n, err := unix.CopyFileRange(int(in.Fd()), nil, int(out.Fd()), nil, 1<<20, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// A database that is copied within the mount is captured as it is written, and a copy of it is the same.
func TestCopyFileRange(t *testing.T) {
	p, m := mountPrimary(t), newModel()
	other := filepath.Join(filepath.Dir(p.path), "other")
	if out, err := exec.Command("sqlite3", other, "CREATE TABLE t(a); INSERT INTO t VALUES(randomblob(500000))").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	before := p.published()
	copyRange(t, other, p.path)
	p.await(before + 1)
	p.replay(m)
	p.compare(m)
	copied := other + "2"
	copyRange(t, p.path, copied)
	copyRange(t, copied, other)
	want, err := os.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(other); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the copy of the copy has %d bytes, want the %d of the database (%v)", len(got), len(want), err)
	}
}
