package stream

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// serveWith is serve with options.
func serveWith(t testing.TB, db Database, opt ServerOptions) (*Server, string) {
	t.Helper()
	opt.Logger = testLogger(t)
	s := NewServer(opt)
	s.Add(testPath, db)
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		h.Close()
	})
	return s, h.URL
}

// stuck is a database whose mutex somebody holds: nothing but its log and its lag is to be had.
type stuck struct {
	*model
	free chan struct{}
}

func (s stuck) Status() Status {
	<-s.free
	return s.model.Status()
}

func (s stuck) Snapshot(ctx context.Context, have *Sums, begin func(SnapshotHeader) error, page func(uint32, []byte) error) (Pos, error) {
	<-s.free
	return s.model.Snapshot(ctx, have, begin, page)
}

// While a transaction is captured followers get heartbeats: those that resume, and those that wait for pages.
func TestBeatsDoNotWaitForDatabase(t *testing.T) {
	up, down := pair(t)
	late := newModel(t, LogOptions{})
	free := make(chan struct{})
	_, url := serveWith(t, stuck{up, free}, ServerOptions{Heartbeat: 20 * time.Millisecond})
	release := sync.OnceFunc(func() { close(free) })
	t.Cleanup(release) // before the server is closed
	// The replica has it all from another server.
	_, other := serve(t, up)
	stop := follow(t, other, down)
	down.waitPos(up.log.Published())
	stop()
	down.mu.Lock()
	down.heard = Pos{}
	down.mu.Unlock()

	opt := FollowOptions{Timeout: 500 * time.Millisecond}
	followWith(t, url, late, opt)
	followWith(t, url, down, opt)
	down.wait("a heartbeat", func() bool { return down.heard == up.log.Published() })
	time.Sleep(3 * opt.Timeout)
	for _, m := range []*model{down, late} {
		m.mu.Lock()
		if m.failed > 1 { // down's first stream was ended by this test
			t.Errorf("the stream failed %d times: %v", m.failed, m.err)
		}
		m.mu.Unlock()
	}
	release()
	late.waitPos(up.log.Published())
	late.equal(up)
}

// A replica tells its replicas how far behind it is.
func TestBeatCarriesLag(t *testing.T) {
	up, down := pair(t)
	up.lag = time.Hour
	_, url := serve(t, up)
	follow(t, url, down)
	down.wait("the lag", func() bool { return down.heardLag == time.Hour })
}

func TestBeatDamage(t *testing.T) {
	good := Heartbeat{Pos: Pos{TXID: 1}, At: time.Unix(1, 0), Lag: time.Second, Behind: 7}
	if got, err := parseBeat(good.append(nil)); err != nil || got != good {
		t.Errorf("got %+v, %v, want %+v", got, err, good)
	}
	for _, bad := range [][]byte{nil, good.append(nil)[1:], Heartbeat{Lag: -1}.append(nil), Heartbeat{Behind: -1}.append(nil)} {
		if _, err := parseBeat(bad); err == nil {
			t.Errorf("%x: got no error", bad)
		}
	}
}

func TestServerMaxStreams(t *testing.T) {
	up, _ := pair(t)
	_, url := serveWith(t, up, ServerOptions{MaxStreams: 2})
	for range 2 {
		resp, err := http.Get(url + "/stream?path=" + testPath)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("got %v, %v, want a stream", resp, err)
		}
		defer resp.Body.Close()
	}
	resp, err := http.Get(url + "/stream?path=" + testPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var head [200]byte
	n, _ := resp.Body.Read(head[:])
	text := string(head[:n])
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(text, "2 followers") {
		t.Errorf("got %s, %q, Retry-After %q", resp.Status, text, resp.Header.Get("Retry-After"))
	}
}

// Page checksums that never end hold up only so many others, and not for ever.
func TestServerSlowSums(t *testing.T) {
	up, _ := pair(t)
	_, url := serveWith(t, up, ServerOptions{MaxSums: 1, WriteTimeout: time.Second})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /stream?path=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 800020\r\n\r\n", testPath)
	const pages = 100000
	head := append([]byte(sumsMagic), 0, 0, 0, sumsVersion)
	head = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(head, testPageSize), pages)
	if _, err := c.Write(head); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // a byte now and then of a table that is right so far, until the server has had enough
		defer close(done)
		for {
			if _, err := c.Write([]byte{0}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	post := func() (int, string) {
		resp, text := get(t, "POST", url+"/stream?path="+testPath, strings.NewReader("no sums"))
		return resp.StatusCode, text
	}
	refused := func() bool { code, _ := post(); return code == http.StatusServiceUnavailable }
	for end := time.Now().Add(20 * time.Second); !refused(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the second client that sends checksums is not refused")
		}
	}
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the server still takes checksums that do not come")
	}
	if code, text := post(); code != http.StatusBadRequest {
		t.Errorf("got %d %q for no checksums, want 400 as before", code, text)
	}
}

// A follower that takes none of its snapshot holds up no other's.
func TestSnapshotBesideStuckFollower(t *testing.T) {
	up, down := newModel(t, LogOptions{}), newModel(t, LogOptions{})
	pages := make(map[uint32][]byte)
	r := newRand(t)
	for pgno := uint32(1); pgno <= 20000; pgno++ {
		pages[pgno] = randomPage(r)
	}
	up.commit(20000, pages)
	_, url := serveWith(t, up, ServerOptions{MaxReading: 1, Heartbeat: 20 * time.Millisecond})
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	fmt.Fprintf(c, "GET /stream?path=%s HTTP/1.1\r\nHost: x\r\n\r\n", testPath)
	if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	follow(t, url, down)
	down.waitPos(up.log.Published())
	down.equal(up)
}
