package stream

import (
	"bufio"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"
)

// streams waits until the server shows one stream, as wanted.
func awaitStream(t *testing.T, s *Server, what string, wanted func(StreamStatus) bool) (st StreamStatus) {
	t.Helper()
	s.mu.Lock()
	d := s.dbs[testPath]
	s.mu.Unlock()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if all := s.statusOf(d).Streams; len(all) == 1 {
			if st = all[0]; wanted(st) {
				return st
			}
		}
	}
	t.Fatalf("%s: got %+v", what, st)
	return st
}

// A replica that does not apply what it has received is seen to be behind, and again when it has caught up.
func TestStatusOfFollower(t *testing.T) {
	up, down := pair(t)
	s, url := serve(t, up)
	applying := make(chan struct{})
	apply := sync.OnceFunc(func() { close(applying) })
	down.onApply = func(p []byte) []byte { <-applying; return p }
	follow(t, url, down)
	t.Cleanup(apply)
	first := up.log.Published()
	awaitStream(t, s, "all acknowledged", func(st StreamStatus) bool { return st.Pos == first && !st.AckedAt.IsZero() })
	r := newRand(t)
	for range 5 {
		up.commitRandom(r)
	}
	committed := time.Now()
	st := awaitStream(t, s, "5 transactions behind", func(st StreamStatus) bool { return st.LagTxns == 5 })
	if want := up.log.bytesAfter(first.TXID); st.Pos != first || st.Bytes != want || want == 0 {
		t.Errorf("got %+v, want it at %s and %d bytes behind", st, first, want)
	}
	awaitStream(t, s, "a lag that grows", func(st StreamStatus) bool {
		return st.Lag >= time.Second && st.Lag < time.Since(committed)+5*time.Second
	})
	apply()
	st = awaitStream(t, s, "all acknowledged", func(st StreamStatus) bool { return st.Pos == up.log.Published() })
	if st.LagTxns != 0 || st.Bytes != 0 || st.Lag != 0 {
		t.Errorf("got %+v, want no lag", st)
	}
}

// What takes the stream and acknowledges nothing is where it was sent to.
func TestStatusOfReader(t *testing.T) {
	up, _ := pair(t)
	s, base := serve(t, up)
	resp, err := http.Get(base + "/stream?" + url.Values{"path": {testPath}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	go bufio.NewReader(resp.Body).WriteTo(discard{})
	st := awaitStream(t, s, "what was sent", func(st StreamStatus) bool { return st.Pos == up.log.Published() })
	if !st.AckedAt.IsZero() || st.Addr == "" || st.Since.IsZero() {
		t.Errorf("got %+v, want an address, a time and no acknowledgement", st)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Acknowledgements that are none are refused, and change nothing.
func TestAckRefused(t *testing.T) {
	up, down := pair(t)
	s, base := serve(t, up)
	follow(t, base, down)
	down.waitPos(up.log.Published())
	before := awaitStream(t, s, "all acknowledged", func(st StreamStatus) bool { return st.Pos == up.log.Published() && !st.AckedAt.IsZero() })
	for q, want := range map[string]int{
		"":                                      400,
		"path=" + testPath + "&pos=x&of=1&at=1": 400,
		"path=" + testPath + "&stream=x&of=1&at=1&pos=0000000000000001/8000000000000000":     404,
		"path=/no&stream=x&of=1&at=1&pos=0000000000000001/8000000000000000":                  404,
		"path=" + testPath + "&stream=&of=-1&at=1&pos=0000000000000001/8000000000000000":     400,
		"path=" + testPath + "&stream=&of=1&at=1&pos=0000000000000001/8000000000000000&at=x": 404,
	} {
		resp, err := http.Post(base+"/stream/ack?"+q, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("POST /stream/ack?%s: got %d, want %d", q, resp.StatusCode, want)
		}
	}
	awaitStream(t, s, "the same", func(st StreamStatus) bool { return st.Pos == before.Pos })
}

// A follower that comes back is behind since what it lacks was committed, and is told so. So is one on a line on which all
// takes long.
func TestStatusOfReturned(t *testing.T) {
	up, down := pair(t)
	s, url := serve(t, up)
	stop := follow(t, url, down)
	down.waitPos(up.log.Published())
	awaitStream(t, s, "all acknowledged", func(st StreamStatus) bool { return st.Pos == up.log.Published() && !st.AckedAt.IsZero() })
	stop()
	up.commitRandom(newRand(t))
	committed := time.Now()
	time.Sleep(1200 * time.Millisecond)
	applying := make(chan struct{})
	apply := sync.OnceFunc(func() { close(applying) })
	down.onApply = func(p []byte) []byte { <-applying; return p }
	follow(t, url, down)
	t.Cleanup(apply)
	awaited := func(lag time.Duration) bool {
		return lag >= 1200*time.Millisecond && lag <= time.Since(committed)+time.Millisecond
	}
	awaitStream(t, s, "a lag since the commit", func(st StreamStatus) bool { return st.LagTxns == 1 && awaited(st.Lag) })
	awaitStream(t, s, "that it was told the same", func(StreamStatus) bool {
		told := down.standing.Load()
		return told != nil && told.TXID == up.log.Published().TXID && awaited(told.Lag) && told.Bytes > 0
	})
	apply()
	awaitStream(t, s, "no lag", func(st StreamStatus) bool { return st.LagTxns == 0 && st.Lag < time.Second })

	now := time.Now()
	c := &connected{acked: ack{pos: testPos(3), of: 3, at: now.Add(-8 * time.Second), arrived: now}}
	c.acked.pos.TXID = up.log.Published().TXID - 1
	c.acked.of = c.acked.pos.TXID
	if st := c.status(up.log, now); st.LagTxns != 1 || st.Bytes == 0 || st.Lag < time.Second || st.Lag > 8*time.Second {
		t.Errorf("got %+v of a follower that had all 8s ago, want it one transaction behind, since then or since that was committed", st)
	}
}

func TestStandingText(t *testing.T) {
	want := Standing{time.Unix(5, 7), 3, time.Second, 99}
	if got, ok := parseStanding(want.String()); !ok || got != want {
		t.Errorf("got %+v, %t, want %+v", got, ok, want)
	}
	for _, text := range []string{"", "x", "1 2 3", "1 -2 3 4", "1 2 -3 4", "1 2 3 -4"} {
		if got, ok := parseStanding(text); ok {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}
