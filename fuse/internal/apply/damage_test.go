package apply

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"weir/fuse/internal/state"
)

// openLogged opens the replica in dir, which must be at s, closes it, and returns what it logged.
func openLogged(t *testing.T, dir string, s *source) string {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var said bytes.Buffer
	db, err := Open(root, "db", Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	(&replica{TB: t, Database: db, dir: dir}).wantState(s)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return said.String()
}

// A bit flipped in any byte of the saved page checksums has Open read the pages instead, and say so where the damage is in
// the table. In the line before it, it makes the file another one than that which was saved.
func TestSavedSumsFlips(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	r.close()
	table := filepath.Join(r.dir, state.Dir, "db", sumsName)
	flips, named := 0, 0
	for ; ; flips++ {
		saved, err := os.ReadFile(table) // each Close writes it anew
		if err != nil {
			t.Fatal(err)
		}
		if flips >= len(saved) {
			break
		}
		inTable := flips > bytes.IndexByte(saved, '\n')
		saved[flips] ^= 1 << (flips % 8)
		if err := os.WriteFile(table, saved, 0o600); err != nil {
			t.Fatal(err)
		}
		said := openLogged(t, r.dir, s)
		if said != "" {
			named++
		} else if inTable {
			t.Error("damage in the table was not named")
		}
		if t.Failed() {
			t.Fatalf("bit %d of byte %d of %d was flipped", flips%8, flips, len(saved))
		}
	}
	t.Logf("%d bytes flipped, %d named", flips, named)
}

// A database that is set aside does not take the place of one that was before.
func TestHotAsideTwice(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, contents := range []string{"first", "second"} {
		for name, b := range map[string]string{"db": contents, "db-journal": "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 " + contents} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		db, err := Open(root, "db", Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"db.0.bad": "first", "db.1.bad": "second"} {
		if got, err := os.ReadFile(filepath.Join(dir, state.Dir, "db", name)); string(got) != want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, want)
		}
	}
}
