package apply

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"weir/fuse/internal/state"
)

// A power failure in a checkpoint may leave any page 1 in the file: the one in the WAL counts.
func TestHeaderInWAL(t *testing.T) {
	h, r := newHistory(t, "wal", 12), newReplica(t)
	r.ckptLock.Lock() // nothing is copied into the file
	defer r.ckptLock.Unlock()
	r.apply(h.payloads[:6]...)
	saved := filepath.Join(t.TempDir(), state.Dir)
	copyTree(t, filepath.Join(r.dir, state.Dir), saved)
	r.apply(h.payloads[6:]...)
	for name, page1 := range map[string][]byte{
		"zeros":           make([]byte, 1024),
		"garbage":         bytes.Repeat([]byte{0xa5}, 1024),
		"other page size": newSource(t, 512, "wal").state[:512],
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"db", "db-wal"} {
				copyTree(t, filepath.Join(r.dir, name), filepath.Join(dir, name))
			}
			copyTree(t, saved, dir)
			overwritePage1(t, filepath.Join(dir, "db"), page1)
			late := openReplica(t, dir)
			if _, pos := late.Pos(); pos != h.at[6] || !late.shown() {
				t.Fatalf("got position %s, shown %t; want %s", pos, late.shown(), h.at[6])
			}
			late.wantState(h.back(6))
			late.apply(h.payloads[6:]...)
			late.wantState(h.source)
		})
	}
}

func overwritePage1(t *testing.T, path string, page1 []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(page1, 0); err != nil {
		t.Fatal(err)
	}
}
