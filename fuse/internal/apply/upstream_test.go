package apply

import (
	"errors"
	"testing"
	"time"

	"weir/stream"
)

func TestStatus(t *testing.T) {
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	if got := r.Status(); got.Role != stream.RoleReplica || got.Pos != (stream.Pos{}) || got.Connected {
		t.Errorf("got %+v, want a replica with nothing", got)
	}
	r.apply(s.payloads...)
	r.SetConnected(true, nil)
	r.Heard(stream.Heartbeat{At: time.Now(), Pos: s.pos})
	if got := r.Status(); !got.Connected || got.Pos != s.pos || got.UpstreamPos != s.pos || got.Lag != 0 || got.PageSize != 4096 || int(got.Size) != len(s.state)/4096 {
		t.Errorf("got %+v, want it connected at %s without lag", got, s.pos)
	}
	next := s.grow(10)
	r.Heard(stream.Heartbeat{At: time.Now(), Pos: s.pos})
	time.Sleep(5 * time.Millisecond)
	if got := r.Status().Lag; got < 5*time.Millisecond {
		t.Errorf("got a lag of %v after 5ms behind", got)
	}
	r.apply(next)
	if got := r.Status().Lag; got != 0 {
		t.Errorf("got a lag of %v, want it caught up", got)
	}
	r.SetConnected(false, errors.New("cut"))
	time.Sleep(5 * time.Millisecond)
	if got := r.Status(); got.Lag < 5*time.Millisecond || got.Connected || got.LastError != "cut" {
		t.Errorf("got %+v, want it not connected and perhaps behind since then", got)
	}
	r.SetConnected(true, nil)
	if got := r.Status(); got.LastError != "" || len(got.Errors) != 1 || got.Errors[0].Text != "cut" || got.Errors[0].Until.IsZero() {
		t.Errorf("connected again: got %+v, want an error that is over", got)
	}
}

// The lag that a replica's own replicas are told of is to be had while a transaction is published.
func TestLagDoesNotWait(t *testing.T) {
	r := newReplica(t)
	r.SetConnected(true, nil)
	r.Heard(stream.Heartbeat{At: time.Now(), Lag: time.Minute})
	r.mu.Lock()
	defer r.mu.Unlock()
	lag := make(chan time.Duration, 1)
	go func() { lag <- r.Lag() }()
	select {
	case got := <-lag:
		if got < time.Minute {
			t.Errorf("got %v, want what the upstream is behind, 1m", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for the database")
	}
}

func TestLag(t *testing.T) {
	pos := func(n stream.TXID) stream.Pos { return stream.Pos{TXID: n} }
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	u := upstream{heardAt: at(99), sentAt: at(99), caughtUp: at(99), connected: true}
	for _, tc := range []struct {
		heard, own stream.TXID // heard 0: nothing is heard
		now        int
		want       int // seconds
		why        string
	}{
		{5, 5, 100, 0, "caught up"},
		{7, 5, 101, 0, "the upstream has only just moved on"},
		{9, 6, 104, 3, "behind"},
		{9, 8, 106, 5, "still behind"},
		{9, 9, 107, 0, "caught up"},
		{12, 9, 109, 0, "the upstream has only just moved on"},
		{0, 9, 110, 1, "behind"},
		{0, 12, 111, 0, "caught up"},
		{0, 12, 120, 11, "the upstream is silent"},
		{14, 12, 121, 12, "it has moved on meanwhile, nobody knows when"},
		{14, 14, 122, 0, "caught up"},
	} {
		if tc.heard > 0 {
			u.heard(stream.Heartbeat{Pos: pos(tc.heard), At: at(tc.now)}, pos(tc.own), at(tc.now))
		}
		if got := u.lag(pos(tc.own), at(tc.now)); got != time.Duration(tc.want)*time.Second {
			t.Errorf("at %d, %d of %d, %s: got %v, want %ds", tc.now, tc.own, u.pos.TXID, tc.why, got, tc.want)
		}
	}
	u.heard(stream.Heartbeat{Pos: pos(14), Lag: time.Minute, At: at(123)}, pos(14), at(123))
	if got := u.lag(pos(14), at(124)); got != time.Minute {
		t.Errorf("caught up with what is a minute behind: got %v", got)
	}
	u.connected = false
	if got := u.lag(pos(14), at(125)); got != time.Minute+2*time.Second {
		t.Errorf("not connected, last heard 2s ago of what was a minute behind: got %v", got)
	}
}

// On a slow line what is heard is old, and after a restart nothing is known of before: then the lag is what the upstream's
// answers and the times of its heartbeats say, whatever its clock is.
func TestLagOnSlowLine(t *testing.T) {
	pos := func(n stream.TXID) stream.Pos { return stream.Pos{TXID: n} }
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for _, skew := range []int{0, 5000, -5000} {
		u := upstream{heardAt: at(100), sentAt: at(100), caughtUp: at(100), connected: true}
		heard := func(txid stream.TXID, sent, own, now int) {
			u.heard(stream.Heartbeat{Pos: pos(txid), At: at(sent + skew)}, pos(stream.TXID(own)), at(now))
		}
		told := func(txid stream.TXID, lag, own, asked int) {
			u.tell(stream.Standing{At: at(asked + skew), TXID: txid, Lag: time.Duration(lag) * time.Second, Bytes: 77}, pos(stream.TXID(own)), at(asked))
		}
		for _, step := range []struct {
			why  string
			do   func()
			own  int
			now  int
			want int // seconds
		}{
			{"it has just been started", func() { heard(20, 101, 10, 101) }, 10, 101, 1},
			{"it lacks what was committed 50s ago", func() { told(20, 50, 10, 101) }, 10, 101, 50},
			{"that goes on", func() {}, 15, 104, 53},
			{"caught up", func() { heard(20, 105, 20, 105) }, 20, 105, 0},
			{"a heartbeat of 8s ago", func() { heard(22, 107, 22, 115) }, 22, 115, 8},
			{"the line is still slow", func() {}, 22, 116, 9},
			{"the upstream has more, for 7s", func() { told(30, 7, 22, 116) }, 22, 117, 8},
			{"a heartbeat from before that", func() { heard(25, 108, 25, 117) }, 25, 117, 8},
			{"a heartbeat that says more", func() { heard(29, 112, 29, 118) }, 29, 118, 6},
			{"all that is known is there, and the line still slow", func() {}, 30, 119, 7},
			{"the line is good again", func() { heard(30, 120, 30, 120) }, 30, 120, 0},
		} {
			step.do()
			if got := u.lag(pos(stream.TXID(step.own)), at(step.now)); got != time.Duration(step.want)*time.Second {
				t.Errorf("clocks differ by %ds, at %d, %s: got %v, want %ds", skew, step.now, step.why, got, step.want)
			}
		}
		var s stream.Status
		told(40, 3, 30, 121)
		s.Pos = pos(30)
		if u.status(&s); s.LagTxns != 10 || s.LagBytes != 77 {
			t.Errorf("got %d transactions and %d bytes behind, want 10 and 77", s.LagTxns, s.LagBytes)
		}
	}
}

// A clock that is set does not make a line look slow for ever.
func TestClockIsSet(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	var c clock
	for _, tt := range []struct{ sent, now, want int }{
		{100, 105, 105}, // it may be five seconds behind
		{110, 112, 112}, // it is two seconds behind
		{120, 130, 122}, // this was on its way for eight seconds
		{133, 131, 131}, // it was set: it is before ours
	} {
		if got := c.sent(at(tt.sent), at(tt.now)); got != at(tt.want) {
			t.Errorf("sent at %d, heard at %d: got %v, want %d", tt.sent, tt.now, got.Unix(), tt.want)
		}
	}
	c.answered(at(134), at(150)) // it was set back: what was asked at 150 was answered by 134
	if got := c.sent(at(140), at(156)); got != at(156) {
		t.Errorf("set back: got %v, want 156", got.Unix())
	}
	c.answered(at(140), at(141)) // nothing new: that was long under way
	if got := c.sent(at(150), at(170)); got != at(166) {
		t.Errorf("got %v, want 166", got.Unix())
	}
}
