package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/superfly/ltx"
)

const testPath = "/data/db"

// serve serves db until the test ends.
func serve(t testing.TB, db Database) (*Server, string) {
	t.Helper()
	s := NewServer(ServerOptions{Logger: testLogger(t), Heartbeat: 20 * time.Millisecond})
	s.Add(testPath, db)
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		h.Close()
	})
	return s, h.URL
}

// follow starts to follow; stop ends it, which the end of the test does too.
func follow(t testing.TB, url string, r Replica) (stop func()) {
	t.Helper()
	return followWith(t, url, r, FollowOptions{})
}

func followWith(t testing.TB, url string, r Replica, opt FollowOptions) (stop func()) {
	t.Helper()
	opt.Logger, opt.MinBackoff, opt.MaxBackoff = testLogger(t), time.Millisecond, 10*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Follow(ctx, url, testPath, r, opt) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow: got %v, want canceled", err)
		}
		if opt.Client != nil {
			opt.Client.CloseIdleConnections()
		}
	})
	t.Cleanup(stop)
	return stop
}

// pair is an upstream with some transactions and a replica without.
func pair(t testing.TB) (up, down *model) {
	t.Helper()
	up, down = newModel(t, LogOptions{}), newModel(t, LogOptions{})
	r := newRand(t)
	for range 10 {
		up.commitRandom(r)
	}
	return up, down
}

func TestFollowSnapshotAndTransactions(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	follow(t, url, down)
	r := newRand(t)
	for range 50 {
		up.commitRandom(r)
	}
	down.waitPos(up.log.Published())
	down.equal(up)
	if down.deltas != 1 {
		t.Errorf("got %d snapshots, want 1", down.deltas)
	}
	down.wait("a heartbeat", func() bool { return down.heard == up.log.Published() && down.up })
}

// A database without a transaction is followed from its first.
func TestFollowFromNothing(t *testing.T) {
	up, down := newModel(t, LogOptions{}), newModel(t, LogOptions{})
	_, url := serve(t, up)
	stop := follow(t, url, down)
	down.wait("connection", func() bool { return down.up })
	r := newRand(t)
	up.commitRandom(r)
	down.waitPos(up.commitRandom(r))
	down.equal(up)
	stop()
	up.commitRandom(r)
	follow(t, url, down)
	down.waitPos(up.log.Published())
	down.equal(up)
	if down.deltas != 0 {
		t.Errorf("got %d snapshots, want none", down.deltas)
	}
}

func TestFollowResumes(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	r := newRand(t)
	for range 5 {
		stop := follow(t, url, down)
		down.waitPos(up.log.Published())
		stop()
		for range 3 {
			up.commitRandom(r)
		}
	}
	if down.deltas != 1 {
		t.Errorf("got %d snapshots, want 1", down.deltas)
	}
}

// A database emptied and filled again.
func TestFollowEmptiedDatabase(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	follow(t, url, down)
	down.waitPos(up.log.Published())
	down.waitPos(up.commit(0, nil))
	down.equal(up)
	down.waitPos(up.commitRandom(newRand(t)))
	down.equal(up)
}

// Transactions that commit while a snapshot is read become part of it.
func TestFollowSnapshotUnderWrites(t *testing.T) {
	up, down := pair(t)
	r := newRand(t)
	up.onPage = func() { up.commitRandom(r) }
	_, url := serve(t, up)
	follow(t, url, down)
	down.wait("the snapshot", func() bool { return down.deltas == 1 })
	down.waitPos(up.log.Published())
	down.equal(up)
}

// breakChain gives up another history of the same database, with a page
// changed that no transaction tells of.
func breakChain(t testing.TB, m *model) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	p := randomPage(newRand(t))
	m.pages[0] = p
	m.sums.Set(1, PageSum(1, p))
	if err := m.log.Reset(ltx.NewPos(m.log.Last().TXID+1, m.sums.Total())); err != nil {
		t.Fatal(err)
	}
}

func TestFollowDelta(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	stop := follow(t, url, down)
	down.waitPos(up.log.Published())
	stop()
	down.took = 0
	breakChain(t, up)
	stop = follow(t, url, down)
	down.waitPos(up.log.Published())
	down.equal(up)
	if down.deltas != 2 || down.took != 1 {
		t.Errorf("got %d pages in %d snapshots, want 1 in the second", down.took, down.deltas)
	}
	breakChain(t, up) // while connected
	down.waitPos(up.log.Published())
	down.waitPos(up.commitRandom(newRand(t)))
	down.equal(up)
}

// A replica whose position is unknown is compared by its pages.
func TestFollowUnknownPosition(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	stop := follow(t, url, down)
	down.waitPos(up.log.Published())
	stop()
	if err := down.log.Reset(Pos{}); err != nil {
		t.Fatal(err)
	}
	follow(t, url, down)
	down.waitPos(up.log.Published())
	down.equal(up)
	if down.deltas != 2 {
		t.Errorf("got %d snapshots, want 2", down.deltas)
	}
}

// A replica that finds its state wrong asks for a delta.
func TestFollowApplyMismatch(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	var once sync.Once
	down.onApply = func(p []byte) []byte {
		once.Do(func() { p[0] ^= 1 })
		return p
	}
	follow(t, url, down)
	down.wait("the snapshot", func() bool { return down.deltas == 1 })
	down.waitPos(up.commitRandom(newRand(t)))
	down.equal(up)
	if down.deltas != 2 {
		t.Errorf("got %d snapshots, want a delta after the first", down.deltas)
	}
}

// A replica whose page checksums are not those of its pages needs every page.
func TestFollowWrongSums(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	stop := follow(t, url, down)
	down.waitPos(up.log.Published())
	stop()
	down.pages[1] = randomPage(newRand(t))
	breakChain(t, up)
	follow(t, url, down)
	down.waitPos(up.log.Published())
	down.equal(up)
}

func TestFollowOtherDatabase(t *testing.T) {
	up, down := pair(t)
	other, _ := pair(t)
	s, url := serve(t, up)
	stop := follow(t, url, down)
	down.waitPos(up.log.Published())
	s.Add(testPath, other)
	want := down.log.Published()
	down.wait("the refusal", func() bool { return errors.Is(down.err, ErrOtherDatabase) })
	stop()
	if err := down.log.Reset(Pos{}); err != nil { // asks for a delta then
		t.Fatal(err)
	}
	down.err = nil
	stop = follow(t, url, down)
	down.wait("the refusal", func() bool { return errors.Is(down.err, ErrOtherDatabase) })
	stop()
	if err := down.log.Reset(want); err != nil {
		t.Fatal(err)
	}
	down.equal(up)
	s.Add(testPath, up)
	follow(t, url, down)
	down.waitPos(up.commitRandom(newRand(t)))
	down.equal(up)
}

// A replica serves replicas.
func TestFollowChain(t *testing.T) {
	up, middle := pair(t)
	down := newModel(t, LogOptions{})
	_, url := serve(t, up)
	_, url2 := serve(t, middle)
	follow(t, url2, down)
	follow(t, url, middle)
	r := newRand(t)
	for range 20 {
		up.commitRandom(r)
	}
	down.waitPos(up.log.Published())
	down.equal(up)
}

// The log's record is damaged after it was opened: followers get a delta.
func TestFollowDamagedLog(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	stop := follow(t, url, down)
	down.waitPos(up.log.Published())
	stop()
	r := newRand(t)
	for range 3 {
		up.commitRandom(r)
	}
	s := up.log.active()
	from, _ := s.extent(s.last().TXID - 1)
	if _, err := s.file.WriteAt([]byte("damage"), from+200); err != nil {
		t.Fatal(err)
	}
	follow(t, url, down)
	down.waitPos(up.log.Published())
	down.equal(up)
	if down.deltas != 2 {
		t.Errorf("got %d snapshots, want 2", down.deltas)
	}
	down.waitPos(up.commitRandom(r))
}

// cutter is a transport whose every connection ends after limit bytes.
type cutter struct {
	net.Conn
	left *atomic.Int64
}

func (c cutter) Read(p []byte) (int, error) {
	left := c.left.Load()
	if left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), left)])
	c.left.Add(-int64(n))
	return n, err
}

// cutClient makes connections of which the first n answers' bytes come.
func cutClient(limits ...int64) *http.Client {
	var i atomic.Int64
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if n := int(i.Add(1)) - 1; err == nil && n < len(limits) {
				left := new(atomic.Int64)
				left.Store(limits[n])
				c = cutter{c, left}
			}
			return c, err
		},
	}}
}

// A connection cut after any byte, of a snapshot or of what follows, leaves the
// replica at a state of the upstream, from which it goes on.
func TestFollowCutConnection(t *testing.T) {
	up, _ := pair(t)
	r := newRand(t)
	once := new(sync.Once)
	size := len(up.pages)
	up.onPage = func() { once.Do(func() { up.commit(size, map[uint32][]byte{2: randomPage(r)}) }) }
	_, url := serve(t, up)
	for cut, whole := int64(0), false; !whole; cut += 37 {
		*once = sync.Once{}
		down := newModel(t, LogOptions{})
		whole = followCut(t, url, up, down, cut)
		down.equal(up)
		down.log.Close()
		if cut > 1<<20 {
			t.Fatal("the stream does not come to an end")
		}
	}
}

// followCut follows with a first connection cut after n bytes, and tells
// whether that was enough.
func followCut(t *testing.T, url string, up, down *model, n int64) (whole bool) {
	stop := followWith(t, url, down, FollowOptions{Client: cutClient(n, n+500)})
	down.wait("the snapshot", func() bool { return down.deltas > 0 && down.log.Published() == up.log.Published() })
	stop()
	return down.failed == 0
}

// A cut in any of the transactions that follow.
func TestFollowCutTransactions(t *testing.T) {
	up, first := pair(t)
	_, url := serve(t, up)
	stop := follow(t, url, first)
	first.waitPos(up.log.Published())
	stop()
	for range 3 {
		up.commitRandom(newRand(t))
	}
	from := first.log.Last()
	for cut, whole := int64(0), false; !whole; cut += 13 {
		down := newModel(t, LogOptions{})
		down.pages, down.sums = slices.Clone(first.pages), first.sums.Clone()
		if err := errors.Join(down.log.Adopt(up.log.Lineage()), down.log.Reset(from)); err != nil {
			t.Fatal(err)
		}
		stop := followWith(t, url, down, FollowOptions{Client: cutClient(cut)})
		down.waitPos(up.log.Published())
		stop()
		down.equal(up)
		whole = down.failed == 0
		down.log.Close()
		if down.deltas > 0 || cut > 1<<20 {
			t.Fatalf("cut at %d: got %d snapshots, want none", cut, down.deltas)
		}
	}
}

// An upstream that answers and then says no more.
func TestFollowSilentUpstream(t *testing.T) {
	release := make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-release
	}))
	defer h.Close()
	defer close(release)
	down := newModel(t, LogOptions{})
	stop := followWith(t, h.URL, down, FollowOptions{Timeout: 20 * time.Millisecond})
	down.wait("the timeout", func() bool { return errors.Is(down.err, errSilent) })
	stop()
}

// An upstream that is not there: the error is the connection's, without all that was asked.
func TestFollowNobody(t *testing.T) {
	h := httptest.NewServer(http.NotFoundHandler())
	h.Close()
	down := newModel(t, LogOptions{})
	stop := followWith(t, h.URL, down, FollowOptions{Name: "b:/data/db"})
	var text string
	down.wait("a refused connection", func() bool {
		if down.err != nil {
			text = down.err.Error()
		}
		return errors.Is(down.err, syscall.ECONNREFUSED)
	})
	stop()
	if !strings.HasPrefix(text, "dial tcp ") || strings.Contains(text, "?") {
		t.Errorf("got %q, want it without a URL", text)
	}
}

// slowConn is a connection that brings 1 KiB every 20 ms.
type slowConn struct{ net.Conn }

func (c slowConn) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return c.Conn.Read(p[:min(len(p), 1<<10)])
}

// A stream is not cut because a record takes longer than nothing may be heard.
func TestFollowSlowLine(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return slowConn{c}, err
	}
	opt := FollowOptions{Timeout: 700 * time.Millisecond, Client: &http.Client{Transport: &http.Transport{DialContext: dial, ReadBufferSize: streamBuffer}}}
	followWith(t, url, down, opt)
	down.waitPos(up.log.Published())
	r, pages := newRand(t), make(map[uint32][]byte)
	for pgno := range uint32(2 * streamBuffer / testPageSize) {
		pages[pgno+1] = randomPage(r)
	}
	up.commit(len(pages), pages)
	down.waitPos(up.log.Published())
	down.equal(up)
	down.mu.Lock()
	defer down.mu.Unlock()
	if down.failed > 0 {
		t.Errorf("the stream failed %d times: %v", down.failed, down.err)
	}
}

func TestFollowBadURL(t *testing.T) {
	for _, url := range []string{"", "localhost:80", "ftp://x", "http://", "http://a b", ":"} {
		if err := Follow(t.Context(), url, testPath, nil, FollowOptions{}); err == nil {
			t.Errorf("%q: no error", url)
		}
	}
}

// After Remove no handler uses the database.
func TestServerRemove(t *testing.T) {
	up, down := pair(t)
	s, url := serve(t, up)
	follow(t, url, down)
	down.waitPos(up.log.Published())
	s.Remove(testPath)
	if n := len(up.log.readers); n != 0 {
		t.Errorf("%d readers are left", n)
	}
	down.wait("the refusal", func() bool { return down.err != nil && strings.Contains(down.err.Error(), "404") })
	s.Add(testPath, up)
	down.waitPos(up.commitRandom(newRand(t)))
	down.equal(up)
}

// A follower that takes nothing does not hold up another.
func TestServerSlowReader(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	slow, err := http.Get(url + "/stream?path=" + testPath)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	follow(t, url, down)
	r := newRand(t)
	noise := func() map[uint32][]byte {
		all := make(map[uint32][]byte)
		for pgno := range uint32(1000) {
			all[pgno+1] = randomPage(r)
		}
		return all
	}
	for range 20 { // more than socket buffers hold
		up.commit(1000, noise())
	}
	down.waitPos(up.log.Published())
	down.equal(up)
}

// Close ends streams at once, those of slow readers too, and waits for them.
func TestServerClose(t *testing.T) {
	up, _ := pair(t)
	s, url := serve(t, up)
	var bodies []io.ReadCloser
	for range 3 {
		resp, err := http.Get(url + "/stream?path=" + testPath)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, resp.Body)
	}
	r := newRand(t)
	for range 2000 {
		up.commitRandom(r)
	}
	start := time.Now()
	s.Close()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Close took %s", d)
	}
	if n := len(up.log.readers); n != 0 {
		t.Errorf("%d readers are left", n)
	}
	for _, b := range bodies {
		b.Close()
	}
	resp, err := http.Get(url + "/stream?path=" + testPath)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %s after Close, want 503", resp.Status)
	}
}

func get(t testing.TB, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestServerAnswers(t *testing.T) {
	up, _ := pair(t)
	_, url := serve(t, up)
	pos := up.log.Published()
	wrong := ltx.NewPos(pos.TXID, pos.PostApplyChecksum^1).String()
	for _, c := range []struct {
		method, query string
		body          string
		code          int
		conflict      string
		text          string
	}{
		{"GET", "", "", 400, "", "which database? add ?path=; served: /data/db"},
		{"GET", "?path=/nix", "", 404, "", "no database /nix is served here; served: /data/db"},
		{"POST", "?path=/nix", "", 404, "", "/data/db"},
		{"GET", "?path=/data/db&pos=5", "", 400, "", "TXID/CHECKSUM"},
		{"GET", "?path=/data/db&pos=" + strings.Replace(pos.String(), "/", "-", 1), "", 400, "", "TXID/CHECKSUM"},
		{"GET", "?path=/data/db&pos=0000000000000000/8000000000000000", "", 400, "", "TXID/CHECKSUM"},
		{"GET", "?path=/data/db&pos=" + wrong, "", 409, conflictPosition, "POST your page checksums"},
		{"GET", "?path=/data/db&id=" + up.log.ID() + "&pos=00000000000000ff/8000000000000000", "", 409, conflictPosition, "POST your page checksums"},
		{"GET", "?path=/data/db&id=" + strings.Repeat("0", 32), "", 409, conflictDatabase, "begin with an empty replica"},
		{"POST", "?path=/data/db&id=" + strings.Repeat("0", 32), "", 409, conflictDatabase, "begin with an empty replica"},
		{"POST", "?path=/data/db", "garbage", 400, "", "page checksums"},
		{"PUT", "?path=/data/db", "", 405, "", ""},
		{"HEAD", "?path=/data/db", "", 405, "", ""},
	} {
		resp, text := get(t, c.method, url+"/stream"+c.query, strings.NewReader(c.body))
		if resp.StatusCode != c.code || resp.Header.Get(conflictHeader) != c.conflict || !strings.Contains(text, c.text) {
			t.Errorf("%s %s: got %d %q %q, want %d %q %q", c.method, c.query, resp.StatusCode, resp.Header.Get(conflictHeader), text, c.code, c.conflict, c.text)
		}
	}
}

func TestServerPages(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	follow(t, url, down)
	down.waitPos(up.log.Published())
	_, text := get(t, "GET", url+"/", nil)
	for _, want := range []string{"weir", testPath, up.log.Published().String(), "followers: 1", "curl -sN", "/stream?path=%2Fdata%2Fdb"} {
		if !strings.Contains(text, want) {
			t.Errorf("GET / has no %q:\n%s", want, text)
		}
	}
	_, text = get(t, "GET", url+"/status", nil)
	for _, want := range []string{`"path": "/data/db"`, `"role": "primary"`, up.log.Published().String(), `"followers": 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("GET /status has no %q:\n%s", want, text)
		}
	}
	if resp, _ := get(t, "GET", url+"/nix", nil); resp.StatusCode != 404 {
		t.Errorf("GET /nix: got %s, want 404", resp.Status)
	}
}

func TestStatusJSON(t *testing.T) {
	want := Status{
		At: time.Unix(4, 0).UTC(), Path: testPath, Role: RoleReplica, ID: strings.Repeat("a", 32), Pos: ltx.NewPos(7, ltx.ChecksumFlag|5), PageSize: 4096, Size: 3, Ready: true, LogBytes: 9, LogFirst: 3, Followers: 1,
		WAL: WALStatus{Bytes: 8192, Frames: 4, Backfilled: 2, Held: true, HeldFrame: 2, HeldPID: 17, HeldCommand: "app"},
		Streams: []StreamStatus{{"b:/data/db", "10.0.0.1:5", time.Unix(1, 0).UTC(), ltx.NewPos(6, ltx.ChecksumFlag), time.Unix(2, 0).UTC(), 1, time.Second, 300,
			[]StreamStatus{{Name: "d:/data/db", Pos: ltx.NewPos(5, ltx.ChecksumFlag)}}, []GoneStream{{Name: "e", Pos: ltx.NewPos(4, ltx.ChecksumFlag)}}}},
		Gone:    []GoneStream{{"c:/data/db", "10.0.0.2:5", ltx.NewPos(2, ltx.ChecksumFlag), time.Unix(5, 0).UTC(), "lost"}},
		Errors:  []Fault{{"old", time.Unix(1, 0).UTC(), time.Unix(2, 0).UTC()}, {"no", time.Unix(3, 0).UTC(), time.Time{}}},
		LagTxns: 1, LagBytes: 77, SnapshotPage: 5, SnapshotPages: 6, LastErrorAt: time.Unix(3, 0).UTC(),
		Upstream: "http://x", Distance: 2, UpstreamPos: ltx.NewPos(8, ltx.ChecksumFlag), Connected: true, Lag: 1500 * time.Millisecond, LastError: "no",
	}
	b, err := want.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var got Status
	if err := got.UnmarshalJSON(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// A large transaction goes through in pieces.
func TestFollowLargeTransaction(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	follow(t, url, down)
	r := newRand(t)
	all := make(map[uint32][]byte)
	for pgno := range uint32(10_000) {
		all[pgno+1] = randomPage(r)
	}
	down.waitPos(up.commit(len(all), all))
	down.equal(up)
	fi, err := os.Stat(up.log.dir.Name() + "/" + up.log.active().name)
	if err != nil || fi.Size() < 10*writeBuffer {
		t.Errorf("got a log of %d bytes, %v, want one that takes many writes", fi.Size(), err)
	}
	if !bytes.Equal(down.pages[9999], up.pages[9999]) {
		t.Error("last page differs")
	}
}

// A replica that finds a page of its own damaged gets it again while it is connected, and no other.
func TestFollowLostPage(t *testing.T) {
	up, down := pair(t)
	_, url := serve(t, up)
	r := newRand(t)
	for range 5 {
		up.commitRandom(r)
	}
	follow(t, url, down)
	down.waitPos(up.log.Published())
	down.mu.Lock()
	deltas, took := down.deltas, down.took
	down.pages[1] = randomPage(r)
	down.sums.Set(2, PageSum(2, down.pages[1]))
	down.doubt = fmt.Errorf("%w: page 2 is damaged", ErrPosMismatch)
	down.asked = func(SnapshotHeader) { down.doubt = nil } // called under mu
	down.mu.Unlock()
	down.wait("a delta", func() bool { return down.deltas > deltas })
	up.commitRandom(r)
	down.waitPos(up.log.Published())
	down.equal(up)
	down.mu.Lock()
	defer down.mu.Unlock()
	if down.deltas != deltas+1 || down.took != took+1 {
		t.Errorf("got %d deltas of %d pages, want 1 of 1", down.deltas-deltas, down.took-took)
	}
}
