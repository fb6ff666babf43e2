package apply

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/fuse/crashfs"
	"weir/stream"
)

var flagCrashes = flag.Int("crashes", 150, "after how many of the operations TestCrashAfterOperation crashes; 0: after each")

// crashVar names, for the child, the directories of the replica and of what it was given.
const crashVar = "WEIR_APPLY_CRASH"

// TestCrashScenario is the life of a replica that TestCrashAfterOperation records: transactions with checkpoints and
// restarts of the WAL, backlogs, clean ends, a delta, another page size. It runs in a process of its own, for who serves a file
// system must not map files of it.
func TestCrashScenario(t *testing.T) {
	dirs := strings.Split(os.Getenv(crashVar), ":")
	if len(dirs) != 2 {
		t.Skip("it runs as a part of TestCrashAfterOperation")
	}
	disk, out := dirs[0], dirs[1]
	s := newSource(t, 512, "delete")
	r := openReplica(t, disk)
	note := func() { noteState(t, out, s) }
	steps := func(n int) {
		for range n {
			payload := s.step()
			note()
			r.apply(payload)
		}
		if err := r.checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	backlog := func(n int) {
		for range n {
			s.step()
			note()
		}
		r.mustApplyAll(s.payloads[len(s.payloads)-n:]...)
	}
	note()
	r.apply(s.payloads...)
	steps(12)
	backlog(9)
	backlog(3)
	r = r.reopen() // saves page checksums
	steps(6)
	for range 3 {
		s.step()
		note()
	}
	if err := r.snapshotOf(s, r.log.ID(), s.state, s.pos, r.Sums()); err != nil {
		t.Fatal(err)
	}
	steps(3)
	s.exec("PRAGMA page_size=1024")
	s.exec("VACUUM")
	s.pageSize, s.state = 1024, nil
	s.churn()
	note()
	if err := r.snapshotOf(s, r.log.ID(), s.state, s.pos, nil); err != nil {
		t.Fatal(err)
	}
	steps(4)
	r.close()
}

// noteState writes a state of the source for the parent: its file, called by its position.
func noteState(t *testing.T, out string, s *source) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(out, fmt.Sprint(uint64(s.pos.TXID))), append([]byte(s.pos.String()), s.state...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// posLen is the length of a position as text.
const posLen = 33

// A replica is killed after each operation on its files, or its power fails there. It comes back at a state of its
// upstream, whose pages it has, or at no known position; and then it gets to the newest.
func TestCrashAfterOperation(t *testing.T) {
	base := t.TempDir()
	disk, record, out := filepath.Join(base, "disk"), filepath.Join(base, "record"), filepath.Join(base, "out")
	for _, dir := range []string{disk, record, out} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := crashfs.Mount(disk, record, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashScenario$", "-test.v")
	cmd.Env = append(os.Environ(), crashVar+"="+disk+":"+out)
	if got, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(got, []byte("--- PASS")) {
		t.Fatalf("scenario: %v\n%s", err, got)
	}
	states := readStates(t, out)
	every := 1
	if *flagCrashes > 0 {
		every = max(1, f.Len() / *flagCrashes)
	}
	known, crashes := 0, 0
	for n := 0; n <= f.Len(); n += every {
		for seed := range uint64(2) {
			im, err := f.After(n, filepath.Join(base, "image"))
			if seed > 0 {
				im.Remove()
				im, err = f.PowerLoss(n, crashfs.RandomLoss(uint64(n)), filepath.Join(base, "image"))
			}
			if err != nil {
				t.Fatal(err)
			}
			crashes++
			if recoverFrom(t, fmt.Sprintf("after operation %d of %d, power lost: %v", n, f.Len(), seed > 0), im, states) {
				known++
			}
			if err := im.Remove(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d crashes at %d operations; the position was known after %d", crashes, f.Len(), known)
	if known < crashes/2 {
		t.Errorf("the position was known after %d of %d crashes only", known, crashes)
	}
}

// upstreamState is a state that the replica was given.
type upstreamState struct {
	pos   stream.Pos
	pages []byte
}

func readStates(t *testing.T, out string) (states []upstreamState) {
	t.Helper()
	for n := 1; ; n++ {
		b, err := os.ReadFile(filepath.Join(out, fmt.Sprint(n)))
		if errors.Is(err, os.ErrNotExist) && n > 1 {
			return states
		}
		if err != nil {
			t.Fatal(err)
		}
		var pos stream.Pos
		if _, err := fmt.Sscanf(string(b[:posLen]), "%016x/%016x", &pos.TXID, &pos.PostApplyChecksum); err != nil {
			t.Fatal(err)
		}
		states = append(states, upstreamState{pos, b[posLen:]})
	}
}

// recoverFrom opens what a crash left, and tells whether its position was known.
func recoverFrom(t *testing.T, when string, im *crashfs.Image, states []upstreamState) (known bool) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := im.CopyTo(dir); err != nil {
		t.Fatal(err)
	}
	r := openReplica(t, dir)
	defer r.close()
	_, pos := r.Pos()
	newest := states[len(states)-1]
	if pos != (stream.Pos{}) {
		known = true
		if int(pos.TXID) > len(states) || states[pos.TXID-1].pos != pos {
			t.Fatalf("%s: it is at %s, at which the upstream never was", when, pos)
		}
		if !r.log.Contains(pos) {
			t.Errorf("%s: its position %s is not in its log", when, pos)
		}
		if got := pagesOf(t, r); !bytes.Equal(got, states[pos.TXID-1].pages) {
			t.Fatalf("%s: its pages are not those of %s", when, pos)
		}
	}
	s := &source{TB: t, pageSize: pageSizeOf(newest.pages), state: newest.pages, pos: newest.pos}
	if err := r.snapshotOf(s, r.log.ID(), s.state, s.pos, r.sumsFor(s.pageSize)); err != nil {
		t.Fatalf("%s: delta from %s: %v", when, pos, err)
	}
	r.wantState(s)
	return known
}

// sumsFor are the page checksums that a delta is asked with.
func (r *replica) sumsFor(pageSize int) *stream.Sums {
	if s := r.Sums(); s != nil && int(s.PageSize()) == pageSize {
		return s
	}
	return nil
}

func pageSizeOf(db []byte) int { return int(db[16])<<8 | int(db[17]) }

// pagesOf reads all pages, as the upstream has them.
func pagesOf(t *testing.T, r *replica) []byte {
	t.Helper()
	var got []byte
	_, err := r.Snapshot(r.ctx(), nil, func(h stream.SnapshotHeader) error {
		got = make([]byte, int(h.Size)*int(h.PageSize))
		return nil
	}, func(pgno uint32, data []byte) error {
		copy(got[int(pgno-1)*len(data):], data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// After a sync that failed nothing more is applied or checkpointed, and readers keep what they have.
func TestSyncFails(t *testing.T) {
	s, r := newSource(t, 1024, "wal"), newReplica(t)
	r.apply(s.payloads...)
	gone, err := os.Create(filepath.Join(t.TempDir(), "gone"))
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	if err := r.sync(gone, "WAL"); err == nil {
		t.Fatal("no error")
	}
	next := s.grow(10)
	if err := r.Apply(r.ctx(), bytes.NewReader(next), int64(len(next)), noMore); err == nil || !strings.Contains(err.Error(), "restart weir") {
		t.Errorf("apply: got %v, want it to say what to do", err)
	}
	if err := r.checkpoint(); err == nil {
		t.Error("checkpoint: no error")
	}
	startReader(t, r.dir).want("read", "1")
	r.index.failed.Store(nil) // it can end
}
