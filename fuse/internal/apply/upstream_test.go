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
	r.Heard(stream.Heartbeat{Pos: s.pos})
	if got := r.Status(); !got.Connected || got.Pos != s.pos || got.UpstreamPos != s.pos || got.Lag != 0 || got.PageSize != 4096 || int(got.Size) != len(s.state)/4096 {
		t.Errorf("got %+v, want it connected at %s without lag", got, s.pos)
	}
	next := s.grow(10)
	r.Heard(stream.Heartbeat{Pos: s.pos})
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
	r.Heard(stream.Heartbeat{Lag: time.Minute})
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
	u := upstream{heardAt: at(99), caughtUp: at(99), connected: true}
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
			u.heard(stream.Heartbeat{Pos: pos(tc.heard)}, pos(tc.own), at(tc.now))
		}
		if got := u.lag(pos(tc.own), at(tc.now)); got != time.Duration(tc.want)*time.Second {
			t.Errorf("at %d, %d of %d, %s: got %v, want %ds", tc.now, tc.own, u.pos.TXID, tc.why, got, tc.want)
		}
	}
	u.heard(stream.Heartbeat{Pos: pos(14), Lag: time.Minute}, pos(14), at(123))
	if got := u.lag(pos(14), at(124)); got != time.Minute {
		t.Errorf("caught up with what is a minute behind: got %v", got)
	}
	u.connected = false
	if got := u.lag(pos(14), at(125)); got != time.Minute+2*time.Second {
		t.Errorf("not connected, last heard 2s ago of what was a minute behind: got %v", got)
	}
}
