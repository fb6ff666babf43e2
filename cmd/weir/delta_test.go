package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var flagDeltaSize = flag.Int("delta.size", 64, "MiB of the database of TestDeltaResync")

// Where positions do not fit, page checksums go up and only the pages that differ come down. Of a database of 1 GiB
// (-delta.size=1024) with 100 pages that differ that is less than 4 MiB.
func TestDeltaResync(t *testing.T) {
	skipRaced(t)
	const pageSize, differ = 4096, 100
	pages := *flagDeltaSize << 20 / pageSize
	primary := newPrimary(t)
	shell(t, primary.db, fmt.Sprintf(`PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA page_size = %d;
		CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);
		WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO t SELECT i, randomblob(4000) FROM n;
		PRAGMA journal_mode = WAL;`, pageSize, pages))
	primary.start()
	replica := newReplica(t, primary)
	w := newWire(t, primary.addr)
	replica.configure("addr: %q\ndbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n", replica.addr, replica.db, w.addr, primary.db)
	replica.start()
	awaitSum(t, primary, replica)
	replica.stop()
	primary.stop()
	whole := w.bytes.Swap(0)

	// Without the saved page checksums nobody knows what changed, so the log begins anew.
	if err := os.Remove(filepath.Join(primary.dir, ".weir", "db", "sums")); err != nil {
		t.Fatal(err)
	}
	shell(t, primary.db, fmt.Sprintf("UPDATE t SET v = randomblob(4000) WHERE id %% %d = 0; PRAGMA wal_checkpoint(TRUNCATE);", pages/differ))
	primary.start()
	replica.start()
	awaitSum(t, primary, replica)
	got, limit := w.bytes.Load(), int64(8*pages+2*differ*pageSize)
	t.Logf("%d pages: %d bytes for the snapshot, %d for the delta", pages, whole, got)
	if whole < int64(pages*4000) {
		t.Errorf("got %d bytes for the snapshot, want all pages: else this counts nothing", whole)
	}
	if got > limit || got > 4<<20 {
		t.Errorf("got %d bytes for %d pages that differ, want at most %d", got, differ, limit)
	}
	if got := snapshots(replica); got != 1 || !strings.Contains(replica.logged(), "delta=true") {
		t.Errorf("got %d snapshots, want one delta\n%s", got, replica.logged())
	}
}

// awaitSum waits until both nodes are at the same position, whose checksum is that of all pages, and compares rows.
func awaitSum(t *testing.T, primary, replica *node) {
	t.Helper()
	const query = "SELECT count(*), max(v), min(v) FROM t"
	pos := primary.pos()
	replica.eventually("the primary's position", func() error {
		if got := replica.pos(); got != pos {
			return fmt.Errorf("it is at %s, the primary at %s", got, pos)
		}
		return nil
	})
	if got, want := shell(t, replica.db, query), shell(t, primary.db, query); got != want {
		t.Errorf("got other rows on the replica at %s than on the primary", pos)
	}
}

// pos is the position that the node says it is at.
func (n *node) pos() string {
	_, body := n.get("GET", "/status")
	_, rest, _ := strings.Cut(body, `"pos": "`)
	pos, _, _ := strings.Cut(rest, `"`)
	return pos
}

// wire passes connections on to an address and counts what goes through them, both ways.
type wire struct {
	addr  string
	bytes atomic.Int64
	to    string
	open  sync.WaitGroup
	ended context.Context
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ownIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	w := &wire{addr: l.Addr().String(), to: to, ended: ended}
	w.open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed below
			}
			w.open.Go(func() { w.pass(c) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		end()
		w.open.Wait()
	})
	return w
}

// pass ends with either side's end, or the wire's.
func (w *wire) pass(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", w.to)
	if err != nil {
		return // the client sees that it is cut
	}
	defer up.Close()
	defer context.AfterFunc(w.ended, func() { c.Close(); up.Close() })()
	done := make(chan error, 2)
	for _, way := range [][2]net.Conn{{c, up}, {up, c}} {
		go func() {
			_, err := io.Copy(io.MultiWriter(way[1], w), way[0])
			done <- errors.Join(err, c.Close(), up.Close())
		}()
	}
	<-done
	<-done
}

// Write counts.
func (w *wire) Write(p []byte) (int, error) {
	w.bytes.Add(int64(len(p)))
	return len(p), nil
}
