package main

import (
	"os"
	"strings"
	"testing"
)

// A replica is verified while it is written to, without and with damage on its disk or its primary's.
func TestVerify(t *testing.T) {
	for _, damaged := range []string{"primary", "replica"} {
		t.Run(damaged, func(t *testing.T) {
			primary := newPrimary(t)
			replica := newReplica(t, primary)
			below, err := os.OpenRoot(map[string]*node{"primary": primary, "replica": replica}[damaged].dir) // stays below the mount
			if err != nil {
				t.Fatal(err)
			}
			defer below.Close()
			// No page of ballast is in a WAL.
			shell(t, primary.db, auditSchema+ballast(500)+"PRAGMA journal_mode = WAL;")
			primary.start()
			replica.start()
			awaitEqual(t, primary, replica)
			script := primary.conf + ".sql"
			if err := os.WriteFile(script, []byte(strings.Repeat(auditStep, 3000)), 0o644); err != nil {
				t.Fatal(err)
			}
			writer := startBackground(t, "sqlite3", "-bail", "-cmd", ".timeout 10000", primary.db, ".read "+script)
			for range 3 {
				out := weirOutput(t, "verify", "-db", replica.db)
				if !strings.HasPrefix(out, replica.db+" at ") || !strings.Contains(out, "the same as at http://"+primary.addr) {
					t.Errorf("got %q", out)
				}
			}
			writer.kill()
			rot(t, below, 100)
			_, stderr, err := tryWeir("verify", "-db", replica.db)
			if code := exitCodeOf(err); code != exitNot || !strings.Contains(stderr, "damaged page") || !strings.Contains(stderr, "page 100") {
				t.Errorf("got exit code %d and %q, want %d and page 100 damaged", code, stderr, exitNot)
			}
		})
	}
	primary := newPrimary(t)
	primary.start()
	if _, stderr, err := tryWeir("verify", "-db", primary.db); exitCodeOf(err) != exitFailure || !strings.Contains(stderr, "is a primary") {
		t.Errorf("got %v, %q, want a word that this is a primary", err, stderr)
	}
}

// rot changes a byte of a page of the database in dir.
func rot(t *testing.T, dir *os.Root, pgno int64) {
	t.Helper()
	f, err := dir.OpenFile("db", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := (pgno-1)*4096 + 1000
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0]++
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}
