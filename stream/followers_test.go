package stream

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A server knows of the replicas of its replica what that knows.
func TestStatusOfFollowersBelow(t *testing.T) {
	up, middle := pair(t)
	last := newModel(t, LogOptions{})
	s, upURL := serve(t, up)
	m, middleURL := serve(t, middle)
	followWith(t, upURL, middle, FollowOptions{Name: "middle", Followers: func() Followers { return m.Followers(testPath) }})
	middle.waitPos(up.log.Published())
	stop := followWith(t, middleURL, last, FollowOptions{Name: "last"})
	up.commitRandom(newRand(t))
	pos := up.log.Published()
	st := awaitStatus(t, s, "a follower's follower", func(st Status) bool {
		below := func(f StreamStatus) bool {
			return len(f.Streams) == 1 && f.Streams[0].Pos == pos && !f.Streams[0].AckedAt.IsZero()
		}
		return len(st.Streams) == 1 && below(st.Streams[0])
	})
	below := st.Streams[0].Streams[0]
	if below.Name != "last" || below.Addr == "" || below.AckedAt.IsZero() || below.AckedAt.After(st.At) || below.Since.IsZero() {
		t.Errorf("got %+v, want it as its upstream knows it", below)
	}
	stop()
	awaitStatus(t, s, "it missed", func(st Status) bool {
		if len(st.Streams) != 1 {
			return false
		}
		f := st.Streams[0]
		return len(f.Streams) == 0 && len(f.Gone) == 1 && f.Gone[0].Name == "last" && f.Gone[0].Pos == pos
	})
}

// What a replica says of its followers is shown by this server's clock, and does no harm.
func TestReadFollowers(t *testing.T) {
	now := time.Unix(2000, 0).UTC()
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	deep := StreamStatus{Name: "deepest"}
	for range maxInstances + 3 {
		deep = StreamStatus{Name: "x", Streams: []StreamStatus{deep}}
	}
	said := Followers{
		At: at(1000),
		Streams: []StreamStatus{
			{Name: "a\x1b[2J", Addr: strings.Repeat("x", maxName+1), Since: at(900), AckedAt: at(999), Gone: []GoneStream{{Name: "b", At: at(998), Reason: "c\n"}}},
			{Since: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, {},
			deep,
		},
		Gone: []GoneStream{{Name: "d", At: at(997)}},
	}
	got, err := readFollowers(strings.NewReader(string(said.encode())), now)
	if err != nil || got.At != now || len(got.Streams) != 4 {
		t.Fatalf("got %+v, %v", got, err)
	}
	want := StreamStatus{Name: "a\ufffd[2J", Addr: strings.Repeat("x", maxName), Since: at(1900), AckedAt: at(1999), Gone: []GoneStream{{Name: "b", At: at(1998), Reason: "c\ufffd"}}}
	if !reflect.DeepEqual(got.Streams[0], want) || !reflect.DeepEqual(got.Gone, []GoneStream{{Name: "d", At: at(1997)}}) {
		t.Errorf("got %+v and %+v, want %+v", got.Streams[0], got.Gone, want)
	}
	if got.Streams[1].Since != now || got.Streams[2].Since.Unix() != 0 || !got.Streams[2].AckedAt.IsZero() {
		t.Errorf("got %+v, want times that can be shown", got.Streams[1:3])
	}
	servers := 0
	for f := got.Streams[3]; len(f.Streams) > 0; f = f.Streams[0] {
		servers++
	}
	if servers != maxInstances-1 {
		t.Errorf("got a chain of %d below the follower's follower, want %d", servers, maxInstances-1)
	}
	if none := (Followers{At: now}).encode(); none != nil {
		t.Errorf("nobody follows: got %s", none)
	}
	said.Streams = make([]StreamStatus, 10_000)
	if b := said.encode(); len(b) > maxFollowers || len(b) < maxFollowers/4 {
		t.Errorf("many: got %d bytes, want at most %d", len(b), maxFollowers)
	}
}

// Nobody's followers are taken that can't be read, or are too many.
func TestFollowersRefused(t *testing.T) {
	up, down := pair(t)
	s, base := serve(t, up)
	follow(t, base, down)
	awaitStatus(t, s, "a follower", func(st Status) bool { return len(st.Streams) == 1 && !st.Streams[0].AckedAt.IsZero() })
	s.mu.Lock()
	var token string
	for c := range s.dbs[testPath].open {
		token = c.token
	}
	s.mu.Unlock()
	q := url.Values{"path": {testPath}, "stream": {token}, "pos": {testPos(1).String()}, "of": {"1"}, "at": {"1"}}
	for body, want := range map[string]int{
		"": 204, `{"streams":[]}`: 204, "x": 400, `{"streams":[{"pos":"y"}]}`: 400, strings.Repeat(" ", maxFollowers) + "{}": 400,
	} {
		resp, err := http.Post(base+"/stream/ack?"+q.Encode(), "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%.30q: got %d, want %d", body, resp.StatusCode, want)
		}
	}
}
