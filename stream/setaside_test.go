package stream

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What is set aside gets numbers that go up, the newest three of each name are kept, and what was moved in part before a
// crash goes on under its number.
func TestSetAside(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Mkdir("kept", 0o700); err != nil {
		t.Fatal(err)
	}
	aside := func(i int, files ...string) {
		t.Helper()
		for _, name := range files {
			if err := root.WriteFile(name, fmt.Append(nil, i), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		to, err := SetAside(root, "db", "kept", "-wal", "-journal")
		if want := fmt.Sprintf("kept/db.%d.bad", i); err != nil || to != want {
			t.Fatalf("got %s, %v; want %s", to, err, want)
		}
	}
	if err := root.WriteFile("kept/db-wal.7.bad", nil, 0o600); err != nil { // another name
		t.Fatal(err)
	}
	for i := range 5 {
		aside(i, "db", "db-wal", "db-journal")
	}
	if err := errors.Join(root.WriteFile("kept/db.5.bad", []byte("5"), 0o600)); err != nil { // before a crash
		t.Fatal(err)
	}
	aside(5, "db-wal", "db-journal")
	want := []string{"db-wal.7.bad"}
	for _, n := range []string{"3", "4", "5"} {
		for _, suffix := range []string{"", "-journal", "-wal"} {
			name := "db." + n + ".bad" + suffix
			want = append(want, name)
			if b, err := root.ReadFile("kept/" + name); string(b) != n {
				t.Errorf("%s: got %q, %v; want %s", name, b, err, n)
			}
		}
	}
	got := glob(t, filepath.Join(root.Name(), "kept"), "*")
	for i := range got {
		got[i] = filepath.Base(got[i])
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}
