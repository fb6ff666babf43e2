package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/stream"
)

// thin is a follower that reads what comes and keeps nothing.
type thin struct {
	conn  net.Conn
	bytes atomic.Int64
}

// followThin connects followers to a node. Each begins with a snapshot.
func followThin(t *testing.T, n *node, many int) (all []*thin) {
	t.Helper()
	var reading sync.WaitGroup
	for range many {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		f := &thin{conn: conn}
		if _, err := fmt.Fprintf(conn, "GET /stream?path=%s HTTP/1.1\r\nHost: weir\r\n\r\n", url.QueryEscape(n.db)); err != nil {
			t.Fatal(err)
		}
		reading.Go(f.read)
		all = append(all, f)
	}
	t.Cleanup(func() {
		for _, f := range all {
			f.conn.Close()
		}
		reading.Wait()
	})
	awaitThin(n, many)
	return all
}

func (f *thin) read() {
	buf := make([]byte, 16<<10)
	for {
		n, err := f.conn.Read(buf)
		f.bytes.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// awaitThin waits until so many followers were sent all that there is. It asks seldom: the answer is long.
func awaitThin(n *node, many int) stream.Status {
	n.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		st, err := n.status()
		behind := slices.ContainsFunc(st.Streams, func(s stream.StreamStatus) bool { return s.Pos != st.Pos })
		if err == nil && st.Followers == many && !behind {
			return st
		}
		if time.Now().After(end) {
			n.t.Fatalf("got %d followers, want %d, with all that there is (%v)", st.Followers, many, err)
		}
	}
}

// A follower costs its upstream little memory, and little time for each transaction.
func TestScaleFollowers(t *testing.T) {
	skipRaced(t)
	many := scaled(200, 40)
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, "PRAGMA journal_mode = WAL; CREATE TABLE beat (id INTEGER PRIMARY KEY, at INTEGER, mode TEXT, note TEXT)")
	load := func(followers int) time.Duration {
		before, busy := awaitThin(primary, followers).Pos.TXID, primary.busy()
		writeBeside(t, primary.db, scaled(10*time.Second, 3*time.Second))
		n := awaitThin(primary, followers).Pos.TXID - before
		return (primary.busy() - busy) / time.Duration(n)
	}
	alone := load(0)
	memory := primary.memory()
	followThin(t, primary, many)
	each := (load(many) - alone) / time.Duration(many)
	grew := (primary.memory() - memory) / int64(many)
	t.Logf("a transaction takes %v of the primary's time, and %v more for each of %d followers, which has %d KiB of memory", alone, each, many, grew>>10)
	within(t, "a transaction for a follower", each, 15*time.Microsecond)
	if grew > scaled[int64](256, 512)<<10 {
		t.Errorf("a follower has %d bytes of memory", grew)
	}
	primary.stop()
}

// writeBeside writes rows at a pace that the machine keeps up with.
func writeBeside(t *testing.T, db string, length time.Duration) {
	t.Helper()
	cmd := command(weirBinary, workerName, "write", db, "WAL", "5ms", length.String())
	stdin, err := cmd.StdinPipe() // at whose end it would stop
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// Text takes less room in the log and on the wire than its pages.
func TestScaleWire(t *testing.T) {
	primary := newPrimary(t)
	copyDurably(t, primary.db, projDB)
	primary.start()
	f := followThin(t, primary, 1)[0]
	before, sent := awaitThin(primary, 1), f.bytes.Load()
	for _, table := range []string{"alias_name", "usage", "extent", "geodetic_crs", "grid_transformation"} {
		shell(t, primary.db, fmt.Sprintf("CREATE TABLE copied_%s AS SELECT * FROM %[1]s", table))
	}
	after := awaitThin(primary, 1)
	pages := changedPages(t, primary, before.Pos)
	for where, n := range map[string]int64{"log": after.LogBytes - before.LogBytes, "stream": f.bytes.Load() - sent} {
		ratio := float64(n) / float64(pages*4096)
		t.Logf("the %s has %.2f of the size of %d changed pages", where, ratio, pages)
		if ratio > 0.6 || pages < 100 {
			t.Errorf("%s: %d bytes for %d pages", where, n, pages)
		}
	}
	primary.stop()
}

// changedPages counts the pages in the transactions after a position.
func changedPages(t *testing.T, n *node, from stream.Pos) (pages int64) {
	t.Helper()
	log, err := stream.OpenLogStream(t.Context(), "http://"+n.addr, n.db, from, stream.FollowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for {
		payload, size, err := log.Next()
		if errors.Is(err, io.EOF) {
			return pages
		}
		if err != nil {
			t.Fatal(err)
		}
		txn, err := stream.NewTxnReader(payload, size)
		for err == nil {
			if _, _, err = txn.Next(); err == nil {
				pages++
			}
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}
