package apply

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// history is a source's transactions, with the state after each.
type history struct {
	*source
	states []string // by transaction; index 0 is nothing
	at     []stream.Pos
}

func newHistory(t *testing.T, mode string, n int) *history {
	t.Helper()
	h := &history{source: newSource(t, 1024, mode), states: []string{""}, at: []stream.Pos{{}}}
	h.note()
	for h.n < n {
		h.step()
		h.note()
	}
	return h
}

func (h *history) note() {
	h.states = append(h.states, string(h.state))
	h.at = append(h.at, h.pos)
}

// back makes the source what it was after transaction n.
func (h *history) back(n stream.TXID) *source {
	return &source{TB: h.TB, pageSize: h.pageSize, state: []byte(h.states[n]), pos: h.at[n], n: int(n)}
}

// TestKill kills a replica at random moments and opens it again: it is at a transaction that it has
// applied, and goes on.
func TestKill(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			const rounds, ahead = 8, 120
			h := newHistory(t, mode, ahead)
			payloads, dir := t.TempDir(), t.TempDir()
			for i, p := range h.payloads {
				if err := os.WriteFile(filepath.Join(payloads, fmt.Sprint(i+1)), p, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range rounds {
				said := killReplica(t, dir, payloads, 1+rand.IntN(12))
				r := openReplica(t, dir)
				_, pos := r.Pos()
				if pos.TXID < said {
					t.Fatalf("got position %s, want at least transaction %s", pos, said)
				}
				if pos.TXID > 0 {
					r.wantState(h.back(pos.TXID))
					startReader(t, dir).want("read", fmt.Sprint(uint64(pos.TXID)))
				}
				r.close()
				if pos.TXID > ahead-20 {
					break
				}
			}
		})
	}
}

// killReplica runs a replica until it has applied n transactions, and a bit, and returns the last
// that it spoke of.
func killReplica(t *testing.T, dir, payloads string, n int) (said stream.TXID) {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir, payloads)
	cmd.Env = append(os.Environ(), childEnv+"=replica", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(out)
	for range n {
		if !in.Scan() {
			t.Fatal("the replica ended by itself")
		}
	}
	time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
	cmd.Process.Kill()
	last := in.Text()
	for in.Scan() {
		last = in.Text()
	}
	cmd.Wait()
	fmt.Sscan(last, (*uint64)(&said))
	return said
}

// TestReopen opens a replica again after a clean end and with its table of checksums gone or outdated.
func TestReopen(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			s, r := newSource(t, 4096, mode), newReplica(t)
			r.apply(s.payloads...)
			for range 5 {
				r.apply(s.step(), s.step())
				r = r.reopen()
				r.wantState(s)
			}
			r.close()
			if got, err := os.ReadFile(filepath.Join(r.dir, "db")); err != nil || string(got) != string(s.state) {
				t.Errorf("the database after a clean end is not the source's (%v)", err)
			}
			for _, suffix := range []string{dbfile.SuffixWAL, dbfile.SuffixSHM} {
				if _, err := os.Stat(filepath.Join(r.dir, "db"+suffix)); err == nil {
					t.Errorf("db%s is there after a clean end", suffix)
				}
			}
			table := filepath.Join(r.dir, state.Dir, "db", sumsName)
			if _, err := os.Stat(table); err != nil {
				t.Error(err)
			}
			if err := os.Truncate(table, 200); err != nil {
				t.Fatal(err)
			}
			r = openReplica(t, r.dir)
			r.wantState(s)
			startReader(t, r.dir).want("read", fmt.Sprint(s.n))
		})
	}
}

// TestReopenUnderReader closes a replica while a reader reads: its WAL must stay.
func TestReopenUnderReader(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	r.apply(s.step(), s.step())
	rd := startReader(t, r.dir)
	rd.want("begin", "3")
	r.apply(s.step())
	r.close()
	rd.want("check", "3")
	rd.want("end", "ok")
	r = openReplica(t, r.dir)
	r.wantState(s)
}

// TestChangedBehindBack changes the database while no replica is open: its position is not known,
// and a delta mends it.
func TestChangedBehindBack(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	if err := r.snapshotOf(s, testID, s.state, s.pos, nil); err != nil {
		t.Fatal(err)
	}
	r.apply(s.grow(100))
	r.close()
	f, err := os.OpenFile(filepath.Join(r.dir, "db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("xyz"), 3*4096+4000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r = openReplica(t, r.dir)
	if id, pos := r.Pos(); id != testID || pos != (stream.Pos{}) {
		t.Errorf("got %s at %s, want %s at no position", id, pos, testID)
	}
	if r.shown() {
		t.Error("readers are shown what somebody else wrote")
	}
	if _, err := r.Snapshot(r.ctx(), nil, nil, nil); err == nil {
		t.Error("a replica without a position serves snapshots")
	}
	if err := r.snapshotOf(s, testID, s.state, s.pos, r.Sums()); err != nil {
		t.Fatal(err)
	}
	if !r.shown() {
		t.Error("readers are not shown the database after the delta")
	}
	r.wantState(s)
	startReader(t, r.dir).want("read", fmt.Sprint(s.n))
}

func (r *replica) shown() bool {
	select {
	case <-r.Ready():
		return true
	default:
		return false
	}
}

// TestWALAhead has transactions in the WAL that never came to the log, as after a power failure: the
// replica is at the last one that the log has.
func TestWALAhead(t *testing.T) {
	for _, mode := range []string{"wal", "delete"} {
		t.Run(mode, func(t *testing.T) {
			h, r := newHistory(t, mode, 12), newReplica(t)
			r.ckptLock.Lock() // a checkpoint syncs the log before it writes to the database
			defer r.ckptLock.Unlock()
			r.apply(h.payloads[:6]...)
			dir := t.TempDir()
			copyTree(t, filepath.Join(r.dir, state.Dir), filepath.Join(dir, state.Dir))
			r.apply(h.payloads[6:]...)
			for _, name := range []string{"db", "db-wal"} {
				copyTree(t, filepath.Join(r.dir, name), filepath.Join(dir, name))
			}
			late := openReplica(t, dir)
			if _, pos := late.Pos(); pos != h.at[6] || !late.shown() {
				t.Errorf("got position %s, shown %t; want %s", pos, late.shown(), h.at[6])
			}
			late.wantState(h.back(6))
			late.apply(h.payloads[6:]...)
			late.wantState(h.source)
			startReader(t, dir).want("read", fmt.Sprint(h.n))
		})
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-r", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestForeignFiles opens directories in which somebody else left something.
func TestForeignFiles(t *testing.T) {
	write := func(t *testing.T, dir, name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := newSource(t, 4096, "delete")
	t.Run("no database", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "db", []byte("Dear diary, today"))
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if _, err := Open(root, "db", Options{}); err == nil || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("got %v, want an error that says what to do", err)
		}
	})
	t.Run("empty", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "db", nil)
		r := openReplica(t, dir)
		r.apply(s.payloads...)
		r.wantState(s)
	})
	t.Run("hot journal", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "db", s.state)
		write(t, dir, "db-journal", []byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and so on"))
		r := openReplica(t, dir)
		if r.Sums() != nil {
			t.Error("a database in the middle of a transaction is shown")
		}
		for _, name := range []string{"db.0.bad", "db.0.bad-journal"} {
			if _, err := os.Stat(filepath.Join(dir, state.Dir, "db", name)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("another primary", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "db", s.state)
		r := openReplica(t, dir)
		startReader(t, dir).want("read", fmt.Sprint(s.n))
		if err := r.snapshotOf(s, testID, s.state, s.pos, r.Sums()); err == nil {
			t.Error("a database of unknown origin was overwritten")
		}
	})
	t.Run("database gone", func(t *testing.T) {
		r := newReplica(t)
		r.apply(s.payloads...)
		r.close()
		if err := os.Remove(filepath.Join(r.dir, "db")); err != nil {
			t.Fatal(err)
		}
		r = openReplica(t, r.dir)
		if _, pos := r.Pos(); pos != (stream.Pos{}) || r.Sums() != nil {
			t.Errorf("got position %s, want none", pos)
		}
		r.apply(s.payloads...)
		r.wantState(s)
	})
}

// TestLogAhead has a transaction in the log that never came to the WAL.
func TestLogAhead(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	pos := s.pos
	next := s.grow(20)
	if _, err := r.log.Receive(strings.NewReader(string(next)), int64(len(next)), func(*stream.Txn) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := r.log.Write(); err != nil {
		t.Fatal(err)
	}
	r = r.reopen()
	if _, got := r.Pos(); got != pos || r.log.Last() != pos {
		t.Errorf("got position %s, log %s; want %s", got, r.log.Last(), pos)
	}
	r.apply(next)
	r.wantState(s)
}
