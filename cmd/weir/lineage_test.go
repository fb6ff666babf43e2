package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

const lineageSchema = "CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('common');"

// asPrimary has n be a primary when it starts again.
func (n *node) asPrimary() {
	n.t.Helper()
	n.configure("addr: %q\ndbs:\n  - path: %s\n", n.addr, n.db)
}

// asReplica has n follow another node when it starts again.
func (n *node) asReplica(upstream *node) {
	n.t.Helper()
	n.configure("addr: %q\ndbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n", n.addr, n.db, upstream.addr, upstream.db)
}

// refuses waits until n says that it does not follow, and requires that its database is what it was.
func (n *node) refuses(message string, rows string) {
	n.t.Helper()
	n.awaitLog(message)
	n.eventually("the error in the status", func() error {
		if _, body := n.get("GET", "/status"); !strings.Contains(body, message) {
			return fmt.Errorf("got %s", body)
		}
		return nil
	})
	if got := shell(n.t, n.db, "SELECT group_concat(v) FROM t"); got != rows {
		n.t.Errorf("%s: got %s after it refused to follow, want %s", n.name, got, rows)
	}
	if got := snapshots(n); got != 0 {
		n.t.Errorf("%s: got %d snapshots", n.name, got)
	}
}

// A replica becomes the primary: the other replica, and the old primary, go on where they are.
func TestPromotion(t *testing.T) {
	a, b := startPair(t)
	c := newReplica(t, a)
	c.start()
	shell(t, a.db, lineageSchema)
	awaitEqual(t, a, b)
	awaitEqual(t, a, c)
	for _, n := range []*node{a, b, c} {
		n.stop()
	}
	b.asPrimary()
	c.asReplica(b)
	a.asReplica(b)
	b.start()
	shell(t, b.db, "INSERT INTO t VALUES ('of b')")
	c.start()
	a.start()
	shell(t, b.db, "INSERT INTO t VALUES ('of b, live')")
	for _, n := range []*node{a, c} {
		awaitEqual(t, b, n)
		if got := snapshots(n); got != 0 {
			t.Errorf("%s: got %d snapshots, want it to go on by position", n.name, got)
		}
	}
	// And back.
	for _, n := range []*node{a, b, c} {
		n.stop()
	}
	a.asPrimary()
	b.asReplica(a)
	c.asReplica(b)
	a.start()
	shell(t, a.db, "INSERT INTO t VALUES ('of a')")
	b.start()
	c.start()
	for _, n := range []*node{b, c} {
		awaitEqual(t, a, n)
		if got := snapshots(n); got != 0 {
			t.Errorf("%s: got %d snapshots, want it to go on by position", n.name, got)
		}
	}
}

// A replica that was started as a primary by mistake, and written to, is not taken back.
func TestTwoPrimariesByMistake(t *testing.T) {
	a, b := startPair(t)
	shell(t, a.db, lineageSchema)
	awaitEqual(t, a, b)
	b.stop()
	b.asPrimary()
	b.start()
	b.awaitLog("a primary from here on")
	shell(t, b.db, "INSERT INTO t VALUES ('of b')")
	shell(t, a.db, "INSERT INTO t VALUES ('of a')")
	b.stop()
	b.asReplica(a)
	b.start()
	b.refuses("upstream has another database", "common,of b")
	if got := shell(t, a.db, "SELECT group_concat(v) FROM t"); got != "common,of a" {
		t.Errorf("got %s on the primary", got)
	}
}

// A primary that has what the new one has not is not overwritten.
func TestOldPrimaryAhead(t *testing.T) {
	a, b := startPair(t)
	shell(t, a.db, lineageSchema)
	awaitEqual(t, a, b)
	b.stop()
	shell(t, a.db, "INSERT INTO t VALUES ('only on a')")
	a.stop()
	b.asPrimary()
	b.start()
	shell(t, b.db, "INSERT INTO t VALUES ('of b')")
	a.asReplica(b)
	a.start()
	a.refuses("it has transactions that this one has not", "common,only on a")
	// Without its own database it is a replica like any other.
	a.stop()
	mustCommand(t, "sh", "-ec", `rm -r "$1" "$2"`, "sh", a.db, filepath.Join(a.dir, ".weir"))
	a.start()
	awaitEqual(t, b, a)
}

// A primary's directory that was copied, weir's own files and all, is another primary.
func TestCopiedPrimary(t *testing.T) {
	a, replica := startPair(t)
	shell(t, a.db, lineageSchema)
	awaitEqual(t, a, replica)
	replica.stop()
	a.stop()
	b := newPrimary(t)
	mustCommand(t, "cp", "-a", a.dir+"/.", b.dir)
	a.start()
	b.start()
	if !strings.Contains(b.logged(), "a primary from here on") || strings.Contains(a.logged(), "a primary from here on") {
		t.Errorf("want the copy, and it alone, to be another primary\n%s\n%s", a.logged(), b.logged())
	}
	shell(t, a.db, "INSERT INTO t VALUES ('of a')")
	shell(t, b.db, "INSERT INTO t VALUES ('of b')")
	replica.start()
	awaitEqual(t, a, replica)
	replica.stop()
	replica.asReplica(b)
	replica.start()
	replica.refuses("upstream has another database", "common,of a")
}

// A primary that is told to follow its own replica, which is none of a new primary, keeps what it has.
func TestPrimaryFollowsItsReplica(t *testing.T) {
	a, b := startPair(t)
	shell(t, a.db, lineageSchema)
	awaitEqual(t, a, b)
	b.stop()
	shell(t, a.db, "INSERT INTO t VALUES ('only on a')")
	a.stop()
	b.asReplica(newNode(t, "nobody")) // else they are a ring
	a.asReplica(b)
	b.start()
	a.start()
	a.refuses("is the upstream a replica of it?", "common,only on a")
}

func TestFollowsItself(t *testing.T) {
	a, b := startPair(t)
	shell(t, a.db, lineageSchema)
	awaitEqual(t, a, b)
	b.stop()
	b.asReplica(b)
	b.start()
	b.refuses("this replica follows itself", "common")
}

// However replicas are put into a ring, one of them says so, and none loses what it has.
func TestRing(t *testing.T) {
	for _, size := range []int{2, 3} {
		for _, order := range []string{"forth", "back"} {
			t.Run(fmt.Sprint(size, " ", order), func(t *testing.T) {
				a, first := startPair(t)
				ring := []*node{first}
				for len(ring) < size {
					n := newReplica(t, a)
					n.start()
					ring = append(ring, n)
				}
				shell(t, a.db, lineageSchema)
				for _, n := range ring {
					awaitEqual(t, a, n)
					n.stop()
				}
				for i := range ring {
					ring[i].asReplica(ring[(i+1)%size])
				}
				for i := range ring {
					if order == "back" {
						i = size - 1 - i
					}
					ring[i].start()
				}
				ring[0].eventually("the ring to be found", func() error {
					for _, n := range ring {
						if strings.Contains(n.logged(), "this replica follows itself") {
							return nil
						}
					}
					return fmt.Errorf("nobody has found it")
				})
				for _, n := range ring {
					if got := shell(t, n.db, "SELECT group_concat(v) FROM t"); got != "common" || snapshots(n) > 0 {
						t.Errorf("%s: got %s and %d snapshots", n.name, got, snapshots(n))
					}
				}
			})
		}
	}
}

// The replica finds itself under another name of its host, too.
func TestFollowsItselfByAnotherName(t *testing.T) {
	a, b := startPair(t)
	shell(t, a.db, lineageSchema)
	awaitEqual(t, a, b)
	b.stop()
	_, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	b.configure("addr: %q\ndbs:\n  - path: %s\n    upstream:\n      url: http://localhost:%s\n", ":"+port, b.db, port)
	b.start()
	b.refuses("this replica follows itself", "common")
}
