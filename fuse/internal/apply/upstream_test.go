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
	r.Heard(s.pos, time.Now())
	if got := r.Status(); !got.Connected || got.Pos != s.pos || got.UpstreamPos != s.pos || got.Lag != 0 || got.PageSize != 4096 || int(got.Size) != len(s.state)/4096 {
		t.Errorf("got %+v, want it connected at %s without lag", got, s.pos)
	}
	next := s.grow(10)
	r.Heard(s.pos, time.Now())
	time.Sleep(5 * time.Millisecond)
	if got := r.Status().Lag; got < 5*time.Millisecond {
		t.Errorf("got a lag of %v after 5ms behind", got)
	}
	r.apply(next)
	r.SetConnected(false, errors.New("cut"))
	if got := r.Status(); got.Lag != 0 || got.Connected || got.LastError != "cut" {
		t.Errorf("got %+v, want it caught up and not connected", got)
	}
}

func TestLag(t *testing.T) {
	pos := func(n stream.TXID) stream.Pos { return stream.Pos{TXID: n} }
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	var u upstream
	for _, tc := range []struct {
		heard, own stream.TXID
		now        int
		want       time.Duration
	}{
		{5, 5, 100, 0},
		{7, 5, 101, 0}, // the upstream has only just moved on
		{9, 6, 104, 3 * time.Second},
		{9, 8, 106, 5 * time.Second},
		{9, 9, 107, 0},
		{12, 9, 110, 0},
	} {
		u.heard(pos(tc.heard), pos(tc.own), at(tc.now))
		if got := u.lag(pos(tc.own), at(tc.now)); got != tc.want {
			t.Errorf("at %d, %d of %d: got %v, want %v", tc.now, tc.own, tc.heard, got, tc.want)
		}
	}
}
