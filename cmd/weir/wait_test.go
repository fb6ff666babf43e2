package main

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"weir/stream"
)

// await asks the node to wait, and returns the status of its answer.
func (n *node) await(q url.Values) (status int, body string) {
	n.t.Helper()
	q.Set("path", n.db)
	return n.get("GET", "/wait?"+q.Encode())
}

// Who waits for what the primary has now reads on the replica, even one behind another, what was committed before.
func TestWaitReadsOwnWrites(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			primary, replica := startPair(t)
			far := newReplica(t, replica)
			far.start()
			shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+auditSchema)
			for i := range 20 {
				n := []*node{replica, far}[i%2]
				shell(t, primary.db, auditStep)
				if status, body := n.await(url.Values{"now": {"1"}}); status != 200 {
					t.Fatalf("got %d, %s", status, body)
				}
				if got := shell(t, n.db, "SELECT n FROM counter"); got != fmt.Sprint(i+1) {
					t.Fatalf("got transaction %s on %s, want %d", got, n.db, i+1)
				}
			}
			shell(t, primary.db, auditStep)
			weirOutput(t, "wait", "-now", "-db", far.db)
			if got := shell(t, far.db, "SELECT n FROM counter"); got != "21" {
				t.Errorf("got transaction %s, want 21", got)
			}
		})
	}
}

// A transaction is waited for until it is there, the time is up, or weir ends.
func TestWaitForTransaction(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, auditSchema)
	awaitEqual(t, primary, replica)
	st, err := replica.status()
	if err != nil {
		t.Fatal(err)
	}
	next := (st.Pos.TXID + 1).String()
	_, stderr, err := tryWeir("wait", "-db", replica.db, "-txid", next, "-timeout", "100ms")
	if code := exitCodeOf(err); code != exitNot || !strings.Contains(stderr, next+" has not come within 100ms") {
		t.Errorf("got exit code %d and %q, want %d", code, stderr, exitNot)
	}
	waiting := startBackground(t, weirBinary, "wait", "-addr", replica.addr, "-db", replica.db, "-txid", next)
	time.Sleep(50 * time.Millisecond) // usually it waits by then
	shell(t, primary.db, auditStep)
	if got := waiting.next(); !strings.HasPrefix(got, next+"/") {
		t.Errorf("got %q, want the position %s", got, next)
	}
	waiting.finish()
	for q, want := range map[string]string{
		"": "wait for what", "txid=x": "txid is", "now=maybe": "now is", "now=1&txid=" + next: "wait for what",
		"now=1&timeout=1d": "timeout is", "now=1&hops=16": "in a ring",
	} {
		if status, body := replica.get("GET", "/wait?path="+replica.db+"&"+q); status < 400 || !strings.Contains(body, want) {
			t.Errorf("%s: got %d, %q, want %q", q, status, body, want)
		}
	}
	// With a primary that does not answer nobody knows what it has.
	primary.stop()
	_, stderr, err = tryWeir("wait", "-db", replica.db, "-now", "-timeout", "10s")
	if code := exitCodeOf(err); code != exitFailure || !strings.Contains(stderr, "where the primary is") {
		t.Errorf("got exit code %d and %q, want %d", code, stderr, exitFailure)
	}
	late := startBackground(t, weirBinary, "wait", "-db", replica.db, "-txid", stream.TXID(1<<40).String(), "-timeout", "10m")
	time.Sleep(50 * time.Millisecond)
	replica.stop() // does not wait for it
	late.kill()
}
