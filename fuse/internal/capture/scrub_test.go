package capture

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// scrubAll reads all pages once, without a pause, and returns what was said.
func (r *rig) scrubAll() string {
	r.Helper()
	var said bytes.Buffer
	was := r.d.logger
	r.d.logger = slog.New(slog.NewTextHandler(&said, nil))
	for next := uint32(1); next != 0; {
		next = r.d.scrub(next)
	}
	r.d.logger = was
	return said.String()
}

// rot changes a byte of a file below the mount.
func (r *rig) rot(suffix string, off int64) {
	r.Helper()
	f, err := os.OpenFile(r.path(suffix), os.O_RDWR, 0)
	if err != nil {
		r.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		r.Fatal(err)
	}
	b[0] ^= 16
	if _, err := f.WriteAt(b, off); err != nil {
		r.Fatal(err)
	}
}

// A page that rots is named, each time, in whichever journal mode; the pages of a transaction that is not committed are not.
func TestScrub(t *testing.T) {
	r := newRig(t)
	if said := r.scrubAll(); said != "" {
		t.Errorf("got %q for a sound database", said)
	}
	const pageSize = 4096
	for _, pgno := range []int{1, 2, int(r.d.sums.Len())} {
		off := int64(pgno-1)*pageSize + 200
		r.rot("", off)
		for range 2 {
			said := r.scrubAll()
			if n := strings.Count(said, "page="); n != 1 || !strings.Contains(said, fmt.Sprintf(" page=%d ", pgno)) || !strings.Contains(said, "db="+r.d.path) {
				t.Errorf("page %d: got %q, want it to be named", pgno, said)
			}
		}
		r.rot("", off)
	}
	r.journal(1)
	page := r.page(3)
	page[300]++
	r.write(3, page)
	if said := r.scrubAll(); said != "" {
		t.Errorf("got %q in a transaction", said)
	}
	if err := r.endJournal(); err != nil {
		t.Fatal(err)
	}
	if said := r.scrubAll(); said != "" {
		t.Errorf("got %q after it", said)
	}
}

// In WAL mode a page counts as it is in the WAL.
func TestScrubWAL(t *testing.T) {
	r := newRig(t)
	r.close()
	r.killed("PRAGMA journal_mode=WAL", "UPDATE t SET a=randomblob(2000) WHERE rowid=20")
	r.open()
	if said := r.scrubAll(); said != "" {
		t.Errorf("got %q for a sound WAL", said)
	}
	for pgno, frame := range r.d.wal.index {
		below, over := int64(pgno-1)*4096+200, r.d.wal.hdr.FrameOffset(frame)+200
		r.rot("", below)
		if said := r.scrubAll(); said != "" {
			t.Errorf("page %d: got %q for what nobody reads", pgno, said)
		}
		r.rot("", below)
		r.rot("-wal", over)
		if said := r.scrubAll(); !strings.Contains(said, fmt.Sprintf(" page=%d ", pgno)) {
			t.Errorf("page %d: got %q, want it to be named", pgno, said)
		}
		r.rot("-wal", over)
	}
}
