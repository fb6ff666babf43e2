package apply

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"weir/fuse/internal/state"
	"weir/stream"
)

// FuzzSavedSums reads any bytes as the checksums of a clean stop: a line that says of which file, or the right one, and
// the table.
func FuzzSavedSums(f *testing.F) {
	dir := f.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { root.Close() })
	file, err := os.Create(filepath.Join(dir, "db"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { file.Close() })
	id, err := state.Identify(file)
	if err != nil {
		f.Fatal(err)
	}
	own, err := json.Marshal(id)
	if err != nil {
		f.Fatal(err)
	}
	d := &Database{state: root, file: file}
	f.Fuzz(func(t *testing.T, head, table []byte) {
		for _, head := range [][]byte{head, append(own, '\n')} {
			if err := root.WriteFile(sumsName, append(head, table...), 0o600); err != nil {
				t.Fatal(err)
			}
			if sums, _, err := d.savedSums(); err == nil && sums != nil {
				checkTotal(t, sums)
			}
		}
	})
}

// checkTotal requires that a table's checksum is that of its pages.
func checkTotal(t *testing.T, sums *stream.Sums) {
	t.Helper()
	again := stream.NewSums(sums.PageSize())
	for pgno := uint32(1); pgno <= sums.Len(); pgno++ {
		again.Set(pgno, sums.Page(pgno))
	}
	if again.Total() != sums.Total() {
		t.Errorf("got checksum %s, want its pages' %s", sums.Total(), again.Total())
	}
}
