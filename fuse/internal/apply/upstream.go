package apply

import (
	"sync"
	"time"

	"weir/stream"
)

// upstream is what a replica knows of the database that it follows.
type upstream struct {
	url string

	mu        sync.Mutex
	pos       stream.Pos
	connected bool
	caughtUp  time.Time // when the replica last had all that it had heard of
	err       error     // why the stream ended
}

// heard notes the upstream's position, given the replica's own.
func (u *upstream) heard(pos, own stream.Pos, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.caughtUp.IsZero() || own == u.pos || own.TXID >= pos.TXID {
		u.caughtUp = now
	}
	u.pos = pos
}

// lag is for how long the replica has been behind. The caller holds mu.
func (u *upstream) lag(own stream.Pos, now time.Time) time.Duration {
	if own.TXID >= u.pos.TXID || u.caughtUp.IsZero() {
		return 0
	}
	return now.Sub(u.caughtUp)
}

// Heard implements [stream.Replica]. The upstream's clock is not used: clocks differ, and a lag is
// measured by one.
func (d *Database) Heard(pos stream.Pos, _ time.Time) {
	_, own := d.Pos()
	d.upstream.heard(pos, own, time.Now())
}

// SetConnected implements [stream.Replica].
func (d *Database) SetConnected(connected bool, err error) {
	d.upstream.mu.Lock()
	defer d.upstream.mu.Unlock()
	d.upstream.connected, d.upstream.err = connected, err
}

// Status implements [stream.Database].
func (d *Database) Status() stream.Status {
	d.mu.RLock()
	s := stream.Status{Path: d.path, Role: stream.RoleReplica, ID: d.log.ID(), Pos: d.pos, PageSize: d.hdr.PageSize, Size: d.hdr.Size}
	d.mu.RUnlock()
	u := &d.upstream
	u.mu.Lock()
	defer u.mu.Unlock()
	s.Upstream, s.UpstreamPos, s.Connected, s.Lag = u.url, u.pos, u.connected, u.lag(s.Pos, time.Now())
	if u.err != nil {
		s.LastError = u.err.Error()
	}
	return s
}
