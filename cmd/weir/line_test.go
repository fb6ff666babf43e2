package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
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

// badLine is a line, and what happens on it.
type badLine struct {
	name   string
	bad    impairment
	script []string
	outage time.Duration // in the middle of the script nothing gets through for so long
	idle   time.Duration // nothing is written for so long afterwards
}

// silence is how long a replica certainly goes on with a stream on which it hears nothing: less than its limit, since a busy
// machine is late to see what is heard.
const silence = 3 * time.Second

// On a bad line a replica goes on by position, and its stream is not given up for being slow: something is heard at least
// with each heartbeat.
func TestBadLine(t *testing.T) {
	steps := slices.Repeat([]string{auditStep}, 40)
	// Six seconds at 64 kbit/s: longer than nothing may be heard.
	large := "UPDATE item SET filler = randomblob(48000) WHERE id = (SELECT min(id) FROM item);"
	for _, tt := range []badLine{
		{name: "latency", bad: impairment{delay: 150 * time.Millisecond}, script: steps, idle: 7 * time.Second},
		{name: "loss", bad: impairment{delay: 5 * time.Millisecond, loss: 0.05}, script: steps, outage: 2500 * time.Millisecond},
		{name: "reordering", bad: impairment{delay: 5 * time.Millisecond, late: 0.3, jitter: 20 * time.Millisecond}, script: steps},
		{name: "64 kbit per second", bad: impairment{delay: 30 * time.Millisecond, rate: 8000}, script: []string{auditStep, large, auditStep}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			primary, replica := startPairOn(t, newNetwork(t, 2))
			before := snapshots(replica)
			replica.line.set(tt.bad)
			_, dropped := replica.line.counts()
			began := time.Now()
			tt.write(t, primary, replica)
			wrote := time.Since(began)
			awaitEqual(t, primary, replica)
			replica.awaitStatus("no lag", func(st stream.Status) bool { return st.Connected && st.Lag == 0 })
			passed, lost := replica.line.counts()
			t.Logf("written in %v, equal after %v; %d packets passed, %d did not", wrote, time.Since(began), passed, lost-dropped)
			tt.rest(t, replica)
			if got := snapshots(replica); got != before {
				t.Errorf("got %d snapshots, want %d as before", got, before)
			}
			if tt.bad.loss > 0 && lost == dropped {
				t.Error("no packet was lost")
			}
			checkSilence(t, replica)
			replica.line.set(impairment{})
		})
	}
}

// write runs the script on the primary.
func (b badLine) write(t *testing.T, primary, replica *node) {
	t.Helper()
	for i, script := range b.script {
		if i == len(b.script)/2 && b.outage > 0 {
			replica.line.set(impairment{gone: true})
			time.AfterFunc(b.outage, func() { replica.line.set(b.bad) })
		}
		shell(t, primary.db, script)
	}
}

// rest requires that the replica goes on hearing of the primary while nothing is written.
func (b badLine) rest(t *testing.T, replica *node) {
	t.Helper()
	_, before := replica.line.hearing.streams()
	time.Sleep(b.idle)
	_, heard := replica.line.hearing.streams()
	// A heartbeat is sent each second. Some may come together.
	if want := int(b.idle / (2 * time.Second)); heard-before < want {
		t.Errorf("something was heard %d times in %v, want %d times and more", heard-before, b.idle, want)
	}
}

// checkSilence requires that the replica gave up no stream on which it had just heard something.
func checkSilence(t *testing.T, replica *node) {
	t.Helper()
	closed, _ := replica.line.hearing.streams()
	for _, s := range closed {
		t.Logf("a stream was given up %v after something was heard", s)
		if s < silence {
			t.Errorf("the replica gave up a stream %v after it had heard something, want that it goes on for more than %v\n%s", s, silence, replica.logged())
		}
	}
	if said := strings.Contains(replica.logged(), "msg=disconnected"); said != (len(closed) > 0) {
		t.Errorf("%d streams were given up, and the replica says that it was cut off: %t\n%s", len(closed), said, replica.logged())
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
