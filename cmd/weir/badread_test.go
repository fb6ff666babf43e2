package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/fuse/crashfs"
)

// badDisk is a file system on which reads can fail.
type badDisk struct {
	at  string
	bad atomic.Int64 // reads of files from this offset on fail
}

func newBadDisk(t *testing.T) *badDisk {
	t.Helper()
	d := new(badDisk)
	d.bad.Store(math.MaxInt64)
	d.at = mountFailing(t, d.fail)
	return d
}

func (d *badDisk) fail(_ int, o crashfs.Op) syscall.Errno {
	if o.Kind == crashfs.Read && o.Off+o.Len > d.bad.Load() {
		return syscall.EIO
	}
	return 0
}

// spoil has reads of a file fail from its middle on, and returns where that is, and what the file has. The kernel asks the
// disk again for what it has cached.
func (d *badDisk) spoil(t *testing.T, below *os.Root, name string) (bad int64, want []byte) {
	t.Helper()
	f, err := below.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want, err = io.ReadAll(f); err != nil {
		t.Fatal(err)
	}
	bad = int64(len(want))/2>>17<<17 + 5<<12 // in the midst of what the kernel reads ahead
	d.bad.Store(bad)
	for end := time.Now().Add(patience); ; {
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if fails(f, bad, int64(len(want))) {
			return bad, want
		}
		if time.Now().After(end) {
			t.Fatalf("%s: it can be read from %d on", name, bad)
		}
	}
}

// fails tells whether each page of a file from off on fails.
func fails(f *os.File, off, size int64) bool {
	for b := make([]byte, 4096); off < size; off += int64(len(b)) {
		if _, err := f.ReadAt(b, off); !errors.Is(err, unix.EIO) {
			return false
		}
	}
	return true
}

// readBad reads a file all the way, some bytes at a time: what the disk has lost must be an error.
func readBad(t *testing.T, path string, n, bad int64, want []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off, b := int64(0), make([]byte, n); off < int64(len(want)); off += n {
		got, err := f.ReadAt(b, off)
		right := min(max(bad-off, 0), n)
		switch {
		case off+n <= bad && err != nil:
			t.Fatalf("%s: read of %d at %d, before %d: %v", path, n, off, bad, err)
		case off+n > bad && !errors.Is(err, unix.EIO):
			zeros := len(b[right:got]) > 0 && len(bytes.Trim(b[right:got], "\x00")) == 0
			t.Fatalf("%s: read of %d at %d, beyond %d: got %d bytes (zeros from there: %v), %v; want EIO", path, n, off, bad, got, zeros, err)
		case !bytes.Equal(b[:right], want[off:off+right]):
			t.Fatalf("%s: read of %d at %d: other bytes than the disk's", path, n, off)
		}
	}
}

// sqliteFails requires that SQLite cannot read the table t. It calls an EIO a malformed database (SQLITE_IOERR_CORRUPTFS).
func sqliteFails(t *testing.T, db string) {
	t.Helper()
	out, err := tryCommand("sqlite3", db, "SELECT sum(length(v)) FROM t")
	if err == nil || !strings.Contains(out, "I/O error") && !strings.Contains(out, "malformed") {
		t.Errorf("SQLite: got %q, %v; want an error", out, err)
	}
}

// A disk fails in the midst of a read. That is an error to who reads, and never zeros, or the end of the file.
func TestReadFailsHalfWay(t *testing.T) {
	const table = "CREATE TABLE t (v BLOB); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO t SELECT randomblob(4000) FROM n;"
	for _, role := range []string{"primary", "replica"} {
		t.Run(role, func(t *testing.T) {
			disk := newBadDisk(t)
			primary := newPrimary(t)
			n := primary
			if role == "primary" {
				n.onDisk(disk.at)
			}
			primary.start()
			shell(t, primary.db, table)
			if role == "replica" {
				n = newReplica(t, primary).onDisk(disk.at)
			}
			if err := os.WriteFile(filepath.Join(n.dir, "other"), bytes.Repeat([]byte("other"), 200<<10), 0o644); err != nil {
				t.Fatal(err)
			}
			if role == "primary" {
				n.stop()
			}
			below, err := os.OpenRoot(n.dir) // leads below the mount
			if err != nil {
				t.Fatal(err)
			}
			defer below.Close()
			n.start()
			awaitTable(n)
			for _, name := range []string{"db", "other"} {
				bad, want := disk.spoil(t, below, name)
				for _, size := range []int64{1 << 20, 128 << 10, 4096} {
					readBad(t, filepath.Join(n.dir, name), size, bad, want)
				}
				if name == "db" {
					sqliteFails(t, n.db)
				}
				disk.bad.Store(math.MaxInt64)
				if got, err := os.ReadFile(filepath.Join(n.dir, name)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: got other bytes than the disk's when it could be read again (%v)", name, err)
				}
			}
			if got := shell(t, n.db, "PRAGMA integrity_check"); got != "ok" {
				t.Error(got)
			}
			n.stop()
		})
	}
}

// awaitTable waits until a node shows the table t.
func awaitTable(n *node) {
	n.t.Helper()
	n.eventually("the table", func() error {
		_, err := tryCommand("sqlite3", n.db, "SELECT 1 FROM t LIMIT 1")
		return err
	})
}
