package fuse

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"weir/stream"
)

// A database that is gone is closed after a while, also while an app has its files open still, and another one of its name
// goes on with its history then.
func TestGoneIsClosed(t *testing.T) {
	was := goneFor
	goneFor = 10 * time.Millisecond
	dir := t.TempDir()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	m, err := Mount(t.Context(), Config{Patterns: []Pattern{{Dir: dir, Match: "*.db"}}, Logger: logger, Passthrough: passthrough()})
	if err != nil {
		t.Fatal(err)
	}
	s := stream.NewServer(stream.ServerOptions{Logger: logger})
	m.Register(s)
	t.Cleanup(func() {
		s.Close()
		if err := m.UnmountLazily(); err != nil {
			t.Error(err)
		}
		goneFor = was
	})
	d, path := m.dirs[0], filepath.Join(dir, "x.db")
	var pos stream.Pos
	for i := range 3 {
		// A shell that has the WAL and the wal-index open, and goes on with them.
		app := exec.Command("sqlite3", path)
		stdin, err := app.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := app.Start(); err != nil {
			t.Fatal(err)
		}
		stdin.Write([]byte("PRAGMA journal_mode = WAL; CREATE TABLE t AS SELECT 1 AS a;\n"))
		awaitTest(t, "two transactions", func() bool {
			db := d.captured("x.db")
			if db == nil || db.Log().Published().TXID < pos.TXID+2 {
				return false
			}
			pos = db.Log().Published()
			return true
		})
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		awaitTest(t, "its end", func() bool { return d.captured("x.db") == nil })
		stdin.Write([]byte("INSERT INTO t VALUES (2);\n"))
		stdin.Close()
		app.Wait() // SQLite may say that its file is gone
		if got := len(d.locks); got != 0 {
			t.Errorf("round %d: %d locks are left, want none", i, got)
		}
	}
}

// A write that began when its file was another database's, or nobody's, is not made as that.
func TestMovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	m, err := Mount(t.Context(), Config{Patterns: []Pattern{{Dir: dir, Match: "*.db"}}, Passthrough: passthrough()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.UnmountLazily(); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "x.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d := m.dirs[0]
	if err := d.expect("y.db"); err != nil {
		t.Fatal(err)
	}
	n, x, y := d.node.child("x.db"), d.captured("x.db"), d.captured("y.db")
	if got := n.database(); got != x || x == nil {
		t.Fatalf("got database %p of x.db, want %p", got, x)
	}
	n.nowAt("x.db", "y.db") // and the tree does not have it yet
	if got := n.database(); got != y {
		t.Errorf("got database %p of a file that was renamed, want %p", got, y)
	}
	if _, err := (current{&memberFile{node: n}, x}).WriteAt([]byte("x"), 0); !errors.Is(err, errMoved) {
		t.Errorf("write to x.db, which is y.db now: got %v, want %v", err, errMoved)
	}
	done, err := n.changePlain(func() error {
		t.Error("a database is written to as a file that is none")
		return nil
	})
	if done || err != nil {
		t.Errorf("got %t, %v, want that to be tried again", done, err)
	}
	n.nowAt("z.db", "y.db") // and the tree has one that came after it
	if got := n.database(); got != x {
		t.Errorf("got database %p of a file that the tree has as x.db, want %p", got, x)
	}
}

func awaitTest(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting for %s", what)
		}
	}
}
