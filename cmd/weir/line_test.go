package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"weir/stream"
)

// startPairOn starts a primary on a network's first line and a replica on its second, in agreement.
func startPairOn(t *testing.T, w *network) (primary, replica *node) {
	t.Helper()
	primary, replica = w.lines[0].host("primary"), w.lines[1].host("replica")
	primary.lead()
	primary.start()
	shell(t, primary.db, "PRAGMA journal_mode = WAL;"+auditSchema+auditStep)
	replica.follow(primary)
	replica.start()
	awaitEqual(t, primary, replica)
	return primary, replica
}

// On a bad line a replica goes on by position, and its stream is not cut for being slow.
func TestBadLine(t *testing.T) {
	steps := func(n int) []string {
		var all []string
		for range n {
			all = append(all, auditStep)
		}
		return all
	}
	// Six seconds at 64 kbit/s: longer than nothing may be heard.
	large := "UPDATE item SET filler = randomblob(48000) WHERE id = (SELECT min(id) FROM item);"
	for _, tt := range []struct {
		name   string
		bad    impairment
		script []string
		whole  bool // the stream must not end
	}{
		{"latency", impairment{delay: 150 * time.Millisecond}, steps(40), true},
		{"loss", impairment{delay: 5 * time.Millisecond, loss: 0.05}, steps(40), false},
		{"reordering", impairment{delay: 5 * time.Millisecond, late: 0.3, jitter: 20 * time.Millisecond}, steps(40), true},
		{"64 kbit per second", impairment{delay: 30 * time.Millisecond, rate: 8000}, []string{auditStep, large, auditStep}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			primary, replica := startPairOn(t, newNetwork(t, 2))
			before := snapshots(replica)
			replica.line.set(tt.bad)
			_, dropped := replica.line.counts()
			began := time.Now()
			for _, script := range tt.script {
				shell(t, primary.db, script)
			}
			wrote := time.Since(began)
			awaitEqual(t, primary, replica)
			replica.awaitStatus("no lag", func(st stream.Status) bool { return st.Connected && st.Lag == 0 })
			passed, lost := replica.line.counts()
			t.Logf("written in %v, equal after %v; %d packets passed, %d did not", wrote, time.Since(began), passed, lost-dropped)
			if got := snapshots(replica); got != before {
				t.Errorf("got %d snapshots, want %d as before", got, before)
			}
			if tt.whole && strings.Contains(replica.logged(), "disconnected") {
				t.Errorf("the stream was cut:\n%s", replica.logged())
			}
			if tt.bad.loss > 0 && lost == dropped {
				t.Error("no packet was lost")
			}
			replica.line.set(impairment{})
		})
	}
}

// Where one side vanishes without a word, the replica notices within its limit and shows how its lag grows, the primary
// lets go of the stream, and afterwards it goes on by position.
func TestVanishedPeer(t *testing.T) {
	skipRaced(t)
	const limit = 5 * time.Second
	for _, which := range []string{"primary", "replica"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			primary, replica := startPairOn(t, newNetwork(t, 2))
			primary.awaitStatus("a follower", func(st stream.Status) bool { return st.Followers == 1 })
			replica.awaitStatus("no lag", func(st stream.Status) bool { return st.Connected && st.Lag == 0 })
			before := snapshots(replica)
			gone := map[string]*node{"primary": primary, "replica": replica}[which].line
			gone.set(impairment{gone: true})
			began := time.Now()
			shell(t, primary.db, auditStep+auditStep)
			replica.awaitStatus("a lag", func(st stream.Status) bool { return st.Lag > 0 })
			t.Logf("a lag is shown after %v", time.Since(began))
			replica.awaitStatus("that it is not connected", func(st stream.Status) bool { return !st.Connected })
			took := time.Since(began)
			t.Logf("the replica notices after %v", took)
			if took > 2*limit {
				t.Errorf("the replica notices after %v, want %v and some for a busy machine", took, limit)
			}
			growing(t, replica, time.Second)
			primary.awaitStatus("no follower", func(st stream.Status) bool { return st.Followers == 0 })
			t.Logf("the primary notices after %v", time.Since(began))
			st, err := replica.status()
			if since := time.Since(began); err != nil || st.Lag > since+time.Second+limit/5 || st.Lag < since-2*time.Second {
				t.Errorf("got a lag of %v, %v, want about %v", st.Lag, err, since)
			}
			gone.set(impairment{})
			awaitEqual(t, primary, replica)
			replica.awaitStatus("no lag", func(st stream.Status) bool { return st.Connected && st.Lag == 0 })
			if got := snapshots(replica); got != before {
				t.Errorf("got %d snapshots, want %d as before", got, before)
			}
		})
	}
}

// growing requires that the replica's lag grows as time passes.
func growing(t *testing.T, replica *node, length time.Duration) {
	t.Helper()
	first, err := replica.status()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(length)
	last, err := replica.status()
	if err != nil {
		t.Fatal(err)
	}
	// Along a chain it comes by heartbeats, one a second.
	if grew := last.Lag - first.Lag; grew < length/4 {
		t.Errorf("the lag grew by %v in %v, from %v", grew, length, first.Lag)
	}
}

// A replica of a replica shows what it is behind the primary.
func TestLagAlongChain(t *testing.T) {
	w := newNetwork(t, 3)
	primary, middle := startPairOn(t, w)
	last := w.lines[2].host("last")
	last.follow(middle)
	last.start()
	awaitEqual(t, primary, last)
	last.awaitStatus("no lag", func(st stream.Status) bool { return st.Connected && st.Lag == 0 })
	primary.line.set(impairment{gone: true})
	last.awaitStatus("the lag of the replica that it follows", func(st stream.Status) bool { return st.Connected && st.Lag > 5*time.Second })
	growing(t, last, 2*time.Second)
	primary.line.set(impairment{})
	shell(t, primary.db, auditStep)
	awaitEqual(t, primary, last)
	last.awaitStatus("no lag", func(st stream.Status) bool { return st.Connected && st.Lag == 0 })
}

// A replica on a slow line slows down neither the app nor another replica, and costs the primary no memory. It goes on
// by position when its line is good again, for the log keeps what it needs.
func TestSlowBesideFast(t *testing.T) {
	skipRaced(t)
	const commits = 60
	w := newNetwork(t, 3)
	primary, fast := startPairOn(t, w)
	slow := w.lines[2].host("slow")
	slow.follow(primary)
	slow.start()
	awaitEqual(t, primary, slow)
	before := snapshots(slow)
	// What the commits take until the fast replica has them, and the app.
	load := func() (app, replica time.Duration) {
		began := time.Now()
		for range commits {
			shell(t, primary.db, "BEGIN; INSERT INTO item (v, filler) VALUES (0, randomblob(50000)); DELETE FROM item WHERE id < (SELECT max(id) FROM item) - 100; UPDATE proof SET total = (SELECT sum(v) FROM item); COMMIT;")
		}
		app = time.Since(began)
		fast.awaitStatus("the primary's position", func(st stream.Status) bool { return st.Pos.String() == primary.pos() })
		return app, time.Since(began)
	}
	appAlone, fastAlone := load()
	awaitEqual(t, primary, slow)
	memory := residentSize(t, primary)
	slow.line.set(impairment{delay: 20 * time.Millisecond, rate: 8000})
	appBeside, fastBeside := load()
	grew := residentSize(t, primary) - memory
	t.Logf("the app took %v, beside a slow replica %v; the fast replica %v and %v; the primary's memory %d KiB, and %d more", appAlone, appBeside, fastAlone, fastBeside, memory>>10, grew>>10)
	if fastBeside > 3*fastAlone+2*time.Second || appBeside > 3*appAlone+2*time.Second {
		t.Error("a slow replica slows down others")
	}
	if grew > 32<<20 {
		t.Errorf("the primary's memory grew by %d bytes", grew)
	}
	if slow.pos() == primary.pos() {
		t.Error("the slow replica is not behind: this shows nothing")
	}
	slow.line.set(impairment{})
	awaitEqual(t, primary, slow)
	awaitEqual(t, primary, fast)
	if got := snapshots(slow); got != before {
		t.Errorf("got %d snapshots, want %d as before", got, before)
	}
}

// residentSize is how much memory the node has, in bytes.
func residentSize(t *testing.T, n *node) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := bytes.Cut(data, []byte("VmRSS:"))
	var kib int64
	if _, err := fmt.Sscan(string(rest), &kib); !ok || err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return kib << 10
}
