package apply

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/fuse/internal/scrub"
	"weir/fuse/internal/state"
	"weir/stream"
)

// scrubAll reads all pages once, without a pause.
func (d *Database) scrubAll() {
	for next := uint32(1); next != 0; {
		next = d.scrub(next)
	}
}

// rot changes a byte of a page in the file, or of its last frame in the WAL.
func (r *replica) rot(pgno uint32) {
	r.Helper()
	r.mu.RLock()
	file, off := r.file, int64(pgno-1)*int64(r.hdr.PageSize)
	if frame := r.index.find(pgno, r.hdr.MxFrame); frame != 0 {
		file, off = r.tail.file, r.tail.hdr.FrameOffset(frame)+24
	}
	r.mu.RUnlock()
	b := make([]byte, 1)
	if _, err := file.ReadAt(b, off+200); err != nil {
		r.Fatal(err)
	}
	b[0] ^= 4
	if _, err := file.WriteAt(b, off+200); err != nil {
		r.Fatal(err)
	}
}

// A page that rots is found, in the database and in the WAL; the replica is in doubt, asks for this page alone, keeps what it
// was, and is right then.
func TestScrub(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	s.grow(50)
	r.apply(s.payloads...)
	r = r.reopen()
	r.apply(s.churn())
	var said bytes.Buffer
	r.logger = slog.New(slog.NewTextHandler(&said, nil))
	r.scrubAll()
	if err := r.Heard(stream.Heartbeat{At: time.Now(), Pos: s.pos}); err != nil || said.Len() > 0 {
		t.Fatalf("got %v, %q for a sound database", err, &said)
	}
	last := uint32(len(s.state) / s.pageSize)
	for i, pgno := range []uint32{1, 2, last / 2, last} {
		r.rot(pgno)
		was := make([]byte, s.pageSize)
		if err := r.readPage(pgno, was); err != nil {
			t.Fatal(err)
		}
		said.Reset()
		r.scrubAll()
		r.scrubAll()
		if n := strings.Count(said.String(), "page="); n != 1 || !strings.Contains(said.String(), "page="+strconv.Itoa(int(pgno))+" ") {
			t.Errorf("page %d: got %q, want it to be named once", pgno, &said)
		}
		if err := r.Heard(stream.Heartbeat{At: time.Now(), Pos: s.pos}); !errors.Is(err, stream.ErrPosMismatch) {
			t.Errorf("page %d: got %v, want doubt", pgno, err)
		}
		have := r.Sums()
		for n := uint32(1); n <= last; n++ {
			if right := have.Page(n) == stream.PageSum(n, s.state[int(n-1)*s.pageSize:][:s.pageSize]); right != (n != pgno) {
				t.Errorf("page %d is damaged: got another checksum than the upstream's for page %d: %t", pgno, n, !right)
			}
		}
		if err := r.snapshotOf(s, r.log.ID(), s.state, s.pos, have); err != nil {
			t.Fatal(err)
		}
		if err := r.Heard(stream.Heartbeat{At: time.Now(), Pos: s.pos}); err != nil {
			t.Errorf("page %d: got %v after the delta", pgno, err)
		}
		r.wantState(s)
		r.scrubAll()
		kept, err := os.ReadFile(filepath.Join(r.dir, state.Dir, "db", keptName+"."+strconv.Itoa(i)+".bad"))
		if err != nil || len(kept) != int(pgno)*s.pageSize || !bytes.Equal(kept[int(pgno-1)*s.pageSize:], was) {
			t.Errorf("page %d: it is not kept as it was: got %d bytes, %v", pgno, len(kept), err)
		}
	}
	r.apply(s.churn())
	r = r.reopen()
	r.wantState(s)
}

// A page that a transaction writes anew is damaged no more.
func TestScrubOverwritten(t *testing.T) {
	s, r := newSource(t, 4096, "delete"), newReplica(t)
	r.apply(s.payloads...)
	r = r.reopen()
	r.rot(1) // the file's change counter is in it
	r.scrubAll()
	if err := r.Heard(stream.Heartbeat{At: time.Now()}); !errors.Is(err, stream.ErrPosMismatch) {
		t.Fatalf("got %v, want doubt", err)
	}
	s.grow(3)
	r.apply(s.payloads[len(s.payloads)-1])
	if err := r.Heard(stream.Heartbeat{At: time.Now()}); err != nil {
		t.Errorf("got %v, want none: page 1 was written", err)
	}
	r.wantState(s)
}

// Reading goes on by itself beside transactions, checkpoints and restarts of the WAL, and takes nothing for damage that is
// none; and finds what is.
func TestScrubBeside(t *testing.T) {
	s, all := newSource(t, 4096, "wal"), scrub.Timing{After: time.Microsecond, Every: time.Microsecond}
	s.grow(50)
	r := openReplicaWith(t, t.TempDir(), Options{CheckpointFrames: testCheckpointFrames, Scrub: all})
	r.apply(s.payloads...)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		r.apply(s.churn())
		if err := r.Heard(stream.Heartbeat{At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	r.rot(2)
	for end := time.Now().Add(30 * time.Second); r.Heard(stream.Heartbeat{At: time.Now()}) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a damaged page is not found")
		}
	}
}
