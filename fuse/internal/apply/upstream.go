package apply

import (
	"fmt"
	"maps"
	"slices"
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
	bytes     int64         // of its log that were to be applied, then
	caughtUp  time.Time     // when the replica was last known to have all that the upstream had
	faults    stream.Faults // why the stream ended
	via       []string      // instances from the upstream to the primary

	page, pages uint32 // of a snapshot or delta: up to which it was received, and of how many; 0 of 0 while there is none
}

// receive notes up to which page of how many a snapshot or delta has been received. It is of 0 when that has ended.
func (u *upstream) receive(page, pages uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.page, u.pages = page, pages
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

// heard notes a heartbeat, given the replica's own position.
func (u *upstream) heard(h stream.Heartbeat, own stream.Pos, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case own.TXID >= h.Pos.TXID, u.fresh(now) && own.TXID >= u.pos.TXID: // in that case the upstream has only just moved on
		u.caughtUp = now
	case own.TXID >= u.pos.TXID:
		u.caughtUp = u.heardAt
	}
	u.pos, u.behind, u.bytes, u.heardAt = h.Pos, h.Lag, h.Behind, now
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
func (d *Database) Heard(h stream.Heartbeat) error {
	d.mu.RLock()
	own, lost := d.pos, slices.Sorted(maps.Keys(d.lost))
	d.mu.RUnlock()
	d.upstream.heard(h, own, time.Now())
	if len(lost) > 0 {
		return fmt.Errorf("%w: damaged pages of %s: %d, the first is %d", stream.ErrPosMismatch, d.path, len(lost), lost[0])
	}
	return nil
}

// SetConnected implements [stream.Replica].
func (d *Database) SetConnected(connected bool, err error) {
	d.upstream.mu.Lock()
	defer d.upstream.mu.Unlock()
	d.upstream.connected = connected
	d.upstream.faults.Note(err, time.Now())
}

// Upstream is where the upstream is; it takes no lock.
func (d *Database) Upstream() string { return d.upstream.url }

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
	select {
	case <-d.ready:
		s.Ready = true
	default:
	}
	d.upstream.status(&s)
	return s
}

// status completes the status of a replica that is at s.Pos.
func (u *upstream) status(s *stream.Status) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.Upstream, s.UpstreamPos, s.Connected, s.Lag = u.url, u.pos, u.connected, u.lag(s.Pos, time.Now())
	if s.Pos.TXID < u.pos.TXID {
		s.LagTxns, s.LagBytes = uint64(u.pos.TXID-s.Pos.TXID), u.bytes
	}
	s.SnapshotPage, s.SnapshotPages = u.page, u.pages
	u.faults.Report(s)
}
