package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weir/fuse/fusetest"
	"weir/stream"
)

// raced says that the tests, and the weir under test, have the race detector.
var raced bool

// Weir's processes are killed by kill -9 while two writers work, and started again. Every state that either node's
// stream ever leads to is verified and must be the same on both. The streams go on; only what an app has committed after
// its weir's death (a journal's end is passed through) comes as the pages that differ.
func TestKilledUnderLoad(t *testing.T) {
	if raced {
		t.Skip("with the race detector weir is so much slower than the writers that it is minutes behind them")
	}
	for _, mode := range []string{"WAL", "DELETE", "PERSIST"} {
		for _, which := range []string{"primary", "replica"} {
			t.Run(which+" in "+mode, func(t *testing.T) {
				t.Parallel()
				seed := rand.Uint64()
				t.Logf("moments from seed %d", seed)
				rnd := rand.New(rand.NewPCG(seed, 0))
				primary, replica := startPair(t)
				shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+auditSchema+auditStep)
				awaitEqual(t, primary, replica)
				a, b := record(t, primary), record(t, replica)
				n := map[string]*node{"primary": primary, "replica": replica}[which]
				for range 5 {
					writers := []*exec.Cmd{startWriter(t, primary, mode, rnd), startWriter(t, primary, mode, rnd)}
					time.Sleep(time.Duration(100+rnd.IntN(400)) * time.Millisecond)
					n.kill()
					time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
					for _, w := range writers { // without weir they could not go on for long
						w.Process.Kill()
						w.Wait() // killed, or ended by an error
					}
					n.start()
					awaitEqual(t, primary, replica)
					shell(t, primary.db, auditStep)
					awaitEqual(t, primary, replica)
					compareRecords(t, a, b)
				}
				for _, r := range []*fusetest.Recorder{a, b} {
					if deltas, _ := r.Breaks(); deltas > 0 && which == "replica" {
						t.Errorf("a stream broke off %d times, want that it goes on", deltas)
					}
				}
				if _, pos := a.Pos(); pos.TXID < 20 {
					t.Errorf("got %d transactions, want a load", pos.TXID)
				}
			})
		}
	}
}

// record follows a node's stream.
func record(t *testing.T, n *node) *fusetest.Recorder {
	t.Helper()
	r := fusetest.NewRecorder(false)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		opt := stream.FollowOptions{Logger: slog.New(slog.DiscardHandler), MaxBackoff: 50 * time.Millisecond}
		ended <- stream.Follow(ctx, "http://"+n.addr, n.db, r, opt)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended // cancelled
	})
	return r
}

// compareRecords waits until both streams have led to one position, and compares the way there.
func compareRecords(t *testing.T, primary, replica *fusetest.Recorder) {
	t.Helper()
	err := replica.Await(patience, func() error {
		_, want := primary.Pos()
		if _, got := replica.Pos(); got != want || got.TXID == 0 {
			return fmt.Errorf("the replica's stream is at %s, the primary's at %s", got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[stream.TXID]stream.Pos)
	for _, pos := range primary.Since(0) {
		want[pos.TXID] = pos
	}
	for _, pos := range replica.Since(0) {
		if w, ok := want[pos.TXID]; ok && w != pos {
			t.Errorf("the replica's stream was at %s, the primary's at %s", pos, w)
		}
	}
}

// startWriter starts a shell that changes the database in steps that an audit can check, spilling, rolling back,
// checkpointing and vacuuming now and then.
func startWriter(t *testing.T, n *node, mode string, rnd *rand.Rand) *exec.Cmd {
	t.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, "PRAGMA journal_mode = %s; PRAGMA cache_size = %d; PRAGMA wal_autocheckpoint = %d;", mode, 5+rnd.IntN(200), 1+rnd.IntN(200))
	for range 2000 {
		switch rnd.IntN(20) {
		case 0:
			script.WriteString(auditRollback)
		case 1:
			script.WriteString("BEGIN IMMEDIATE; SAVEPOINT s; UPDATE item SET filler = randomblob(1500); ROLLBACK TO s; COMMIT;\n")
		case 2:
			script.WriteString("PRAGMA wal_checkpoint(RESTART);\n")
		case 3:
			script.WriteString("VACUUM;\n")
		default:
			script.WriteString(auditStep)
		}
	}
	cmd := command("sqlite3", "-bail", "-cmd", ".timeout 10000", n.db)
	cmd.Stdin = strings.NewReader(script.String())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd
}
