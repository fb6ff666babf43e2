package fuse

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"weir/fuse/internal/state"
	"weir/stream"
)

// mountMembers mounts and serves a directory in which a database that is gone is closed at once.
func mountMembers(t *testing.T, p Pattern) *directory {
	t.Helper()
	was := goneFor
	goneFor = 10 * time.Millisecond
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	m, err := Mount(t.Context(), Config{Patterns: []Pattern{p}, Logger: logger, Passthrough: passthrough()})
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
	return m.dirs[0]
}

// A database that is gone is closed after a while, also while an app has its files open still, and another one of its name
// goes on with its history then.
func TestGoneIsClosed(t *testing.T) {
	dir := t.TempDir()
	d, path := mountMembers(t, Pattern{Dir: dir, Match: "*.db"}), filepath.Join(dir, "x.db")
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

// Of a database that is gone all is kept for a time, and then nothing but what was set aside. Others keep theirs.
func TestGoneIsSwept(t *testing.T) {
	dir := t.TempDir()
	d := mountMembers(t, Pattern{Dir: dir, Match: "*.db", Recursive: true})
	names := []string{"stays.db", "plain.db", "bad.db", "sub/deep.db", "replaced.db"}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * keptFor)
	for _, name := range names {
		makeDatabase(t, filepath.Join(dir, name))
	}
	if err := d.root.WriteFile(filepath.Join(state.Path("bad.db"), "log-1.0.bad"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range names[1:] {
		d.root.Chtimes(filepath.Join(state.Path(name), "id"), old, old)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names[1:] {
		awaitTest(t, "the end of "+name, func() bool { return d.captured(name) == nil })
		for _, file := range []string{"sums", "log-0000000000000000"} { // it was written long before it went
			d.root.Chtimes(filepath.Join(state.Path(name), file), old, old)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "replaced.db"), []byte("no database"), 0o644); err != nil {
		t.Fatal(err)
	}
	isKept := func(name, file string) bool {
		_, err := d.root.Stat(filepath.Join(state.Path(name), file))
		return err == nil
	}
	d.sweep(time.Now().Add(-time.Minute))
	for _, name := range names {
		if !isKept(name, "id") || !isKept(name, "log-0000000000000000") {
			t.Errorf("%s: its log is gone, too soon", name)
		}
	}
	d.sweep(time.Now().Add(time.Minute))
	for _, name := range names {
		gone := name != "stays.db" && name != "replaced.db"
		if isKept(name, ".") != (!gone || name == "bad.db") || isKept(name, "id") == gone || isKept(name, "log-0000000000000000") == gone {
			t.Errorf("%s: got that it is gone: %t, want %t", name, !isKept(name, "id"), gone)
		}
	}
	if _, err := d.root.Stat(state.Dir + "/sub"); err == nil || !isKept("bad.db", "log-1.0.bad") {
		t.Errorf("got %v for an empty directory, or nothing of what was set aside", err)
	}
}

// It is looked for now and then, and the next database of that name begins anew.
func TestSweepsByItself(t *testing.T) {
	every, kept := sweepEvery, keptFor
	sweepEvery, keptFor = 10*time.Millisecond, -time.Minute
	t.Cleanup(func() { sweepEvery, keptFor = every, kept })
	dir := t.TempDir()
	d, path := mountMembers(t, Pattern{Dir: dir, Match: "*.db"}), filepath.Join(dir, "x.db")
	for range 2 {
		makeDatabase(t, path)
		awaitTest(t, "its first transaction", func() bool { db := d.captured("x.db"); return db != nil && db.Log().Published().TXID == 1 })
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		awaitTest(t, "its end", func() bool { _, err := d.root.Stat(state.Path("x.db")); return err != nil })
	}
}

func makeDatabase(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("sqlite3", path, "CREATE TABLE t AS SELECT 1 AS a").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", path, err, out)
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
