package capture

import (
	"os"
	"path/filepath"
	"testing"

	"weir/fuse/internal/state"
)

// A bit flipped in any byte of the saved page checksums, and of what heads them, changes no position, no page, and nothing of
// how far the WAL was captured.
func TestSavedSumsFlips(t *testing.T) {
	r := newRig(t)
	r.close()
	r.killed("PRAGMA journal_mode=WAL", "INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(randomblob(9000))")
	r.open()
	pos, sums, frame := r.d.log.Last(), r.d.sums.Total(), r.d.wal.frame
	r.close()
	table := filepath.Join(r.dir, state.Dir, "db", sumsFile)
	for i := 0; ; i++ {
		saved, err := os.ReadFile(table) // each Close writes it anew
		if err != nil {
			t.Fatal(err)
		}
		if i >= len(saved) {
			t.Logf("%d bytes flipped", i)
			return
		}
		saved[i] ^= 1 << (i % 8)
		if err := os.WriteFile(table, saved, 0o600); err != nil {
			t.Fatal(err)
		}
		r.open()
		if r.d.log.Last() != pos || r.d.sums.Total() != sums || r.d.wal.frame != frame {
			t.Fatalf("bit %d of byte %d of %d (%q): got %s, frame %d; want %s, frame %d", i%8, i, len(saved), saved[:i+1], r.d.log.Last(), r.d.wal.frame, pos, frame)
		}
		r.close()
	}
}
