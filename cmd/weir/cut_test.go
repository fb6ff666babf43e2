package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/fuse"
	"weir/fuse/fusetest"
	"weir/stream"
)

var flagCutStep = flag.Int64("cut.step", 97, "by how many bytes each connection of TestCutConnections is longer than the one before it")

// cutter passes connections on to an address, and cuts each after some bytes, counted both ways. None gets through, until
// it is told to begin.
type cutter struct {
	addr string
	to   string
	open sync.WaitGroup

	mu     sync.Mutex // guards all below
	after  int64      // bytes of the next connection; 0: none gets through
	passed int        // connections since it began
	conns  map[net.Conn]struct{}
	closed bool
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ownIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: l.Addr().String(), to: to, conns: make(map[net.Conn]struct{})}
	c.open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed below
			}
			c.open.Go(func() { c.pass(conn) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.end()
		c.open.Wait()
	})
	return c
}

// begin lets connections through, the first for one byte.
func (c *cutter) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after, c.passed = 1, 0
}

// end cuts all connections, and lets none through. It returns how many there were.
func (c *cutter) end() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.after = 0
	for conn := range c.conns {
		conn.Close()
	}
	return c.passed
}

// enter tells after how many bytes a new connection is cut; 0: at once.
func (c *cutter) enter(conns ...net.Conn) (after int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if after = c.after; after == 0 || c.closed {
		return 0
	}
	c.after += *flagCutStep
	c.passed++
	for _, conn := range conns {
		c.conns[conn] = struct{}{}
	}
	return after
}

func (c *cutter) leave(conns ...net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range conns {
		delete(c.conns, conn)
		conn.Close()
	}
}

func (c *cutter) pass(down net.Conn) {
	defer down.Close()
	up, err := net.Dial("tcp", c.to)
	if err != nil {
		return // the client sees that it is cut
	}
	defer c.leave(down, up)
	after := c.enter(down, up)
	if after == 0 {
		return
	}
	left := &allowance{bytes: after}
	var ways sync.WaitGroup
	for _, way := range [][2]net.Conn{{down, up}, {up, down}} {
		ways.Go(func() {
			io.Copy(way[1], &allowed{way[0], left}) // ends as it may
			down.Close()
			up.Close()
		})
	}
	ways.Wait()
}

// allowance is how many bytes may still pass.
type allowance struct {
	mu    sync.Mutex
	bytes int64 // mu
}

// allowed reads as much as the allowance allows.
type allowed struct {
	from io.Reader
	left *allowance
}

func (a *allowed) Read(p []byte) (int, error) {
	n, err := a.from.Read(p)
	a.left.mu.Lock()
	defer a.left.mu.Unlock()
	if int64(n) >= a.left.bytes {
		n, err = int(a.left.bytes), io.EOF
	}
	a.left.bytes -= int64(n)
	return n, err
}

// impatient is a replica that is mounted by this process, and connects again at once.
type impatient struct {
	*node
	streams *stream.Server
}

func newImpatient(t *testing.T, primary *node, addr string) *impatient {
	t.Helper()
	dir := t.TempDir()
	r := &impatient{node: &node{t: t, name: "replica", dir: dir, db: filepath.Join(dir, "db"), log: filepath.Join(t.TempDir(), "log")}}
	log, err := os.Create(r.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	mounts, err := fuse.Mount(context.Background(), fuse.Config{
		Databases:   []fuse.Database{{Path: r.db, Upstream: &fuse.Upstream{URL: "http://" + addr, Path: primary.db}}},
		Logger:      slog.New(slog.NewTextHandler(log, nil)),
		Passthrough: fusetest.PassthroughOfEnvironment().Replica,
		MaxBackoff:  time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.streams = stream.NewServer(stream.ServerOptions{Logger: slog.New(slog.DiscardHandler)})
	mounts.Register(r.streams)
	t.Cleanup(func() {
		if err := errors.Join(r.streams.Close(), mounts.UnmountLazily()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// awaitPos waits until the replica is where the primary is.
func (r *impatient) awaitPos(primary *node) {
	r.t.Helper()
	want := primary.pos()
	r.within(10*patience, "position "+want, func() error {
		w := httptest.NewRecorder()
		r.streams.ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
		var all []stream.Status
		if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil {
			return err
		}
		if len(all) != 1 || all[0].Pos.String() != want {
			return fmt.Errorf("it is at %v", all)
		}
		return nil
	})
}

// The connection between a replica and its primary is cut after a byte, and each one that follows some bytes later: within a
// snapshot, within a delta, and within transactions, until all has come over. The replica then has what the primary has. A
// reader has seen only states that were committed, in order.
func TestCutConnections(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, "PRAGMA page_size = 512; PRAGMA journal_mode = WAL;"+auditSchema+strings.Repeat(auditStep, 10))
	cut := newCutter(t, primary.addr)
	replica := newImpatient(t, primary, cut.addr)
	over := func(what string) {
		t.Helper()
		cut.begin()
		replica.awaitPos(primary)
		connections := cut.end()
		t.Logf("%s: %d connections", what, connections)
		if connections < 3 {
			t.Errorf("%s: got %d connections, want it cut", what, connections)
		}
	}
	over("snapshot")
	awaitEqual(t, primary, replica.node)
	reader := startBackground(t, "audit", replica.db)
	reader.next()

	// Without the saved page checksums nobody knows what changed, so the log begins anew.
	primary.stop()
	if err := os.Remove(filepath.Join(primary.dir, ".weir", "db", "sums")); err != nil {
		t.Fatal(err)
	}
	shell(t, primary.db, strings.Repeat(auditStep, 5))
	primary.start()
	over("delta")
	awaitEqual(t, primary, replica.node)

	before := snapshots(replica.node)
	shell(t, primary.db, strings.Repeat(auditStep, 5)+"VACUUM;")
	over("transactions")
	if got := snapshots(replica.node); got != before {
		t.Errorf("got %d snapshots for transactions, want the replica to go on by position", got-before)
	}
	awaitEqual(t, primary, replica.node)
	reader.finish()
	primary.stop()
}
