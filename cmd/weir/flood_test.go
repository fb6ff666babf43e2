package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/stream"
)

// Clients that hold 10,000 connections, and send nothing, half a request, garbage, or page checksums that do not end,
// hurt neither the app nor a replica: not those that are there, and not those that come.
func TestFlood(t *testing.T) {
	skipRaced(t)
	const steps = 30
	primary, replica := startPair(t)
	shell(t, primary.db, "PRAGMA journal_mode = WAL;"+auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	alone := primary.load(replica, steps)
	memory, files := residentSize(t, primary), descriptors(t, primary)

	f := newFlood(t, primary, 10000)
	primary.eventually("the connections", func() error {
		if n := descriptors(t, primary); n < files+100 {
			return fmt.Errorf("it has %d files open: this shows nothing", n)
		}
		return nil
	})
	beside := primary.load(replica, steps)
	grew := residentSize(t, primary) - memory
	t.Logf("%d transactions on the primary and the replica take %v, beside the flood %v", steps, alone, beside)
	t.Logf("the primary has %d files open, %d before, and %d KiB of memory, %d before", descriptors(t, primary), files, (memory+grew)>>10, memory>>10)
	t.Logf("%d connections were made; of them %d are open", f.made(), f.open())
	// 10,000 clients on this machine take their time of it, too: more than twice as long where it is not busy.
	if beside > 20*alone+time.Minute {
		t.Error("the flood holds up the app, or the replica")
	}
	if grew > 200<<20 {
		t.Errorf("the primary's memory grew by %d bytes", grew)
	}
	if strings.Contains(replica.logged(), "disconnected") {
		t.Errorf("the replica was cut off:\n%s", replica.logged())
	}
	// One that comes now gets in, within the time that headers may take.
	late := newReplica(t, primary)
	late.start()
	awaitEqual(t, primary, late)

	f.end()
	primary.eventually("that the connections are gone", func() error {
		if n := descriptors(t, primary); n > files+20 {
			return fmt.Errorf("it has %d files open, %d before", n, files)
		}
		return nil
	})
	if code, body := primary.get("GET", "/"); code != 200 {
		t.Errorf("got %d %q after the flood", code, body)
	}
	primary.awaitStatus("its two followers", func(st stream.Status) bool { return st.Followers == 2 })
	primary.load(replica, 1)
	for _, n := range []*node{late, replica, primary} {
		n.stop()
	}
}

// load makes transactions, each by a connection of its own, and returns how long it takes until the replica has them.
func (n *node) load(replica *node, steps int) time.Duration {
	n.t.Helper()
	began := time.Now()
	for range steps {
		shell(n.t, n.db, auditStep)
	}
	awaitEqual(n.t, n, replica)
	return time.Since(began)
}

// descriptors counts the node's.
func descriptors(t *testing.T, n *node) int {
	t.Helper()
	fds, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(n.cmd.Process.Pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// flood is connections that harm, each made again when it is closed.
type flood struct {
	clients sync.WaitGroup
	ended   chan struct{}

	mu    sync.Mutex // guards all below
	count int
	conns map[net.Conn]struct{}
}

// newFlood holds many connections to a node, or as many as this process may open.
func newFlood(t *testing.T, n *node, many int) *flood {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	many = min(many, int(limit.Cur)-500)
	f := &flood{ended: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	t.Cleanup(f.end)
	kinds := []string{
		"",
		"GET /stream?path=" + n.db + " HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		strings.Repeat("\x16\x03\x01garbage", 100),
		"POST /stream?path=" + n.db + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n",
	}
	for i := range many {
		f.clients.Go(func() { f.hold(n.addr, kinds[i%len(kinds)]) })
	}
	return f
}

// hold keeps one connection open, sending a byte now and then where it began with something.
func (f *flood) hold(addr, first string) {
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			f.add(c)
			if _, err = io.WriteString(c, first); err == nil {
				f.drip(c, first != "")
			}
			f.remove(c)
		}
		select {
		case <-f.ended:
			return
		case <-time.After(10 * time.Second): // it was refused, or closed
		}
	}
}

// drip stays until the connection is closed.
func (f *flood) drip(c net.Conn, sends bool) {
	for {
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		_, err := c.Read(make([]byte, 512))
		if err == nil {
			continue // it is told why it is turned away
		}
		if !os.IsTimeout(err) {
			return
		}
		if sends {
			if _, err := c.Write([]byte("a")); err != nil {
				return
			}
		}
	}
}

func (f *flood) add(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	f.conns[c] = struct{}{}
	select {
	case <-f.ended:
		c.Close()
	default:
	}
}

func (f *flood) remove(c net.Conn) {
	c.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

// made is how many connections there were.
func (f *flood) made() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *flood) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

// end closes all connections and waits for their goroutines.
func (f *flood) end() {
	f.mu.Lock()
	select {
	case <-f.ended:
	default:
		close(f.ended)
	}
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.clients.Wait()
}
