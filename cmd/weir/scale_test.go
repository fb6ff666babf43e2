package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var scale = flag.Bool("scale", false, "have TestScale* use the sizes that their limits are for, on a machine that does nothing else")

// scaled returns the size to use.
func scaled[T any](full, short T) T {
	if *scale {
		return full
	}
	return short
}

// within fails where it took longer than the limit. Where tests run side by side, nobody knows for how long they wait.
func within(t *testing.T, what string, took, limit time.Duration) {
	t.Helper()
	t.Logf("%s: %v, of %v", what, took, limit)
	if took > scaled(limit, 10*limit+5*time.Second) {
		t.Errorf("%s took too long", what)
	}
}

// A database is opened at once after a clean stop, however large it is, and after kill -9 in less than it takes to read it.
func TestScaleStart(t *testing.T) {
	skipRaced(t)
	primary := newPrimary(t)
	primary.fill(scaled[int64](10<<30, 256<<20), nil)
	reading := timeOf(func() { copyOut(t, io.Discard, primary.db) })
	within(t, "the first start", timeOf(func() { primary.start() }), reading)
	primary.stop()
	within(t, "a start after a clean stop", timeOf(func() { primary.start() }), 200*time.Millisecond)
	shell(t, primary.db, "INSERT INTO t VALUES (1); PRAGMA wal_checkpoint; INSERT INTO t VALUES (2)")
	primary.kill()
	within(t, "a start after kill -9", timeOf(func() { primary.start() }), reading)
	if got := shell(t, primary.db, "SELECT count(*) FROM t"); got != "2" {
		t.Errorf("got %s rows, want 2", got)
	}
	primary.stop()
}

// The first snapshot takes no longer than to copy the file and to send it, twice. Neither daemon's memory grows with the
// database.
func TestScaleSnapshot(t *testing.T) {
	skipRaced(t)
	primary := newPrimary(t)
	size := scaled[int64](1<<30, 64<<20)
	primary.fill(size, projPages(t))
	primary.start()
	plain := timeOf(func() { copyDurably(t, filepath.Join(t.TempDir(), "copy"), primary.db) }) + timeOf(func() { download(t, primary.db) })
	replica := newReplica(t, primary)
	memory := watchMemory(primary, replica)
	took := timeOf(func() {
		replica.start()
		replica.eventually("the database", func() error { _, err := os.Stat(replica.db); return err })
	})
	most := memory()
	within(t, "the first snapshot", took, 2*plain)
	t.Logf("%.2f of the rate of cp and a download", plain.Seconds()/took.Seconds())
	for i, n := range []*node{primary, replica} {
		t.Logf("the %s had %d MiB", n.name, most[i]>>20)
		if most[i] > 64<<20 {
			t.Errorf("the %s had %d bytes of memory", n.name, most[i])
		}
	}
	replica.stop()
	primary.stop()
}

// fill makes a database of so many bytes. SQLite knows of a few pages; the others have what is in pages, in turn, or are a
// hole.
func (n *node) fill(size int64, pages [][]byte) {
	n.t.Helper()
	shell(n.t, n.db, "PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
	f, err := os.OpenFile(n.db, os.O_RDWR, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	const pageSize = 4096
	if _, err := f.WriteAt(binary.BigEndian.AppendUint32(nil, uint32(size/pageSize)), 28); err != nil {
		n.t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		n.t.Fatal(err)
	}
	for at := int64(2); at < size/pageSize && len(pages) > 0; at++ {
		if _, err := f.WriteAt(pages[int(at)%len(pages)], at*pageSize); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		n.t.Fatal(err)
	}
}

// projPages are the pages of a real database full of text.
func projPages(t *testing.T) (pages [][]byte) {
	t.Helper()
	data, err := os.ReadFile(projDB)
	if err != nil {
		t.Fatalf("%v: run apt-get install proj-data", err)
	}
	for len(data) >= 4096 {
		pages, data = append(pages, data[:4096]), data[4096:]
	}
	return pages
}

func timeOf(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

func copyOut(t *testing.T, to io.Writer, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
}

// copyDurably copies as cp does, and makes it last.
func copyDurably(t *testing.T, to, from string) {
	t.Helper()
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	copyOut(t, f, from)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// download gets a file over HTTP, into a file.
func download(t *testing.T, path string) {
	t.Helper()
	addr, err := freeAddr("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Addr: addr, Handler: http.FileServer(http.Dir(filepath.Dir(path)))}
	go server.ListenAndServe()
	defer server.Close()
	var resp *http.Response
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if resp, err = http.Get("http://" + addr + "/" + filepath.Base(path)); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "download"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, resp.Body); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// watchMemory looks at nodes' memory, in bytes without what is the files' own, until most is called for the most that each
// had.
func watchMemory(nodes ...*node) (most func() []int64) {
	found, stop, done := make([]int64, len(nodes)), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			for i, n := range nodes {
				found[i] = max(found[i], n.memory())
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() []int64 { close(stop); <-done; return found }
}

// memory is what the node's process has that is in no file; 0 where there is none yet.
func (n *node) memory() int64 {
	if n.cmd == nil || n.cmd.Process == nil {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil || !bytes.Contains(status, []byte("RssAnon:")) { // it has only just begun
		return 0
	}
	return procField(status, "RssAnon:") << 10
}

// busy is for how long the node's process has used a processor.
func (n *node) busy() time.Duration {
	n.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		n.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // proc(5): utime and stime, in ticks of 10 ms
	fields := strings.Fields(rest)
	var ticks int64
	for _, field := range fields[11:13] {
		v, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			n.t.Fatal(err)
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
