package apply

import (
	"sync"
	"time"

	"weir/stream"
)

// overdue is for how long nothing may be heard of the upstream before what it has is in doubt: some heartbeats.
const overdue = 3 * time.Second

// upstream is what a replica knows of the database that it follows.
type upstream struct {
	url string

	mu        sync.Mutex
	pos       stream.Pos // as last heard
	connected bool
	heardAt   time.Time     // when; before, when weir started
	behind    time.Duration // the upstream's own lag, then
	caughtUp  time.Time     // when the replica was last known to have all that the upstream had
	err       error         // why the stream ended
	via       []string      // instances from the upstream to the primary
}

func (u *upstream) setVia(via []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.via = via
}

// Via implements [stream.Database].
func (d *Database) Via() []string {
	d.upstream.mu.Lock()
	defer d.upstream.mu.Unlock()
	return d.upstream.via
}

// heard notes the upstream's position and lag, given the replica's own position.
func (u *upstream) heard(pos, own stream.Pos, behind time.Duration, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case own.TXID >= pos.TXID, u.fresh(now) && own.TXID >= u.pos.TXID: // in that case the upstream has only just moved on
		u.caughtUp = now
	case own.TXID >= u.pos.TXID:
		u.caughtUp = u.heardAt
	}
	u.pos, u.behind, u.heardAt = pos, behind, now
}

// fresh tells whether what was last heard still counts. The caller holds mu.
func (u *upstream) fresh(now time.Time) bool { return u.connected && now.Sub(u.heardAt) < overdue }

// lag is for how long the replica has been behind, and what it follows was, when last heard. Where the upstream is
// silent the replica may be behind since then. The caller holds mu.
func (u *upstream) lag(own stream.Pos, now time.Time) time.Duration {
	switch {
	case own.TXID < u.pos.TXID:
		return now.Sub(u.caughtUp) + u.behind
	case u.fresh(now):
		return u.behind
	}
	return now.Sub(u.heardAt) + u.behind
}

// Heard implements [stream.Replica]. The upstream's clock is not used: clocks differ, and a lag is
// measured by one.
func (d *Database) Heard(pos stream.Pos, _ time.Time, behind time.Duration) {
	_, own := d.Pos()
	d.upstream.heard(pos, own, behind, time.Now())
}

// SetConnected implements [stream.Replica].
func (d *Database) SetConnected(connected bool, err error) {
	d.upstream.mu.Lock()
	defer d.upstream.mu.Unlock()
	d.upstream.connected, d.upstream.err = connected, err
}

// Lag implements [stream.Database]. Its position is the log's, which is to be had while a transaction is published.
func (d *Database) Lag() time.Duration {
	own := d.log.Published()
	d.upstream.mu.Lock()
	defer d.upstream.mu.Unlock()
	return d.upstream.lag(own, time.Now())
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
