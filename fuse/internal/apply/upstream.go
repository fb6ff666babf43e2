package apply

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"weir/stream"
)

const (
	// overdue is for how long nothing may be heard of the upstream before what it has is in doubt: some heartbeats.
	overdue = 3 * time.Second
	// slow is from when on a heartbeat has been on its way for so long that the replica counts as behind.
	slow = time.Second
)

// upstream is what a replica knows of the database that it follows.
type upstream struct {
	url string

	mu        sync.Mutex
	pos       stream.Pos // as last heard
	connected bool
	heardAt   time.Time     // when; before, when weir started
	sentAt    time.Time     // when that was sent, by the replica's clock; the same while that is not known
	clock     clock         // the upstream's, on this connection
	told      stream.TXID   // what it had when it last said how the replica stands: what is heard may be older
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
	sent := u.clock.sent(h.At, now)
	switch {
	case own.TXID >= h.Pos.TXID:
		u.hadAll(sent)
	case u.pos == stream.Pos{}, own.TXID < u.pos.TXID: // nothing was heard before, or it was behind already
	case u.fresh(now): // the upstream has only just moved on
		u.hadAll(sent)
	default:
		u.hadAll(u.sentAt)
	}
	u.pos, u.behind, u.bytes, u.heardAt, u.sentAt = h.Pos, h.Lag, h.Behind, now, sent
}

// tell notes how the replica stands, as the upstream answered to what was asked at a time.
func (u *upstream) tell(s stream.Standing, own stream.Pos, asked time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clock.answered(s.At, asked)
	at := asked
	if u.clock.known {
		at = u.clock.own(s.At)
	}
	if u.told = s.TXID; own.TXID < s.TXID {
		u.caughtUp, u.bytes = at.Add(-s.Lag), s.Bytes
	}
}

// hadAll notes that the replica had all at a time. The caller holds mu.
func (u *upstream) hadAll(at time.Time) {
	if at.After(u.caughtUp) {
		u.caughtUp = at
	}
}

// has is what the upstream has, as far as is known. The caller holds mu.
func (u *upstream) has() stream.TXID { return max(u.pos.TXID, u.told) }

// fresh tells whether what was last heard still counts. The caller holds mu.
func (u *upstream) fresh(now time.Time) bool { return u.connected && now.Sub(u.heardAt) < overdue }

// lag is for how long the replica has been behind, and what it follows was, when last heard. Where the upstream is
// silent, or what it says has been on its way for long, the replica may be behind since that was said. The caller holds mu.
func (u *upstream) lag(own stream.Pos, now time.Time) time.Duration {
	switch {
	case own.TXID < u.has():
		return max(0, now.Sub(u.caughtUp)) + u.behind
	case u.fresh(now) && u.heardAt.Sub(u.sentAt) < slow:
		return u.behind
	}
	return now.Sub(u.sentAt) + u.behind
}

// Heard implements [stream.Replica].
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

// Told implements [stream.Replica].
func (d *Database) Told(s stream.Standing, asked time.Time) {
	d.upstream.tell(s, d.log.Published(), asked)
}

// SetConnected implements [stream.Replica].
func (d *Database) SetConnected(connected bool, err error) {
	d.upstream.mu.Lock()
	defer d.upstream.mu.Unlock()
	if connected {
		d.upstream.clock, d.upstream.told = clock{}, 0 // it may be another server
	}
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
	if has := u.has(); s.Pos.TXID < has {
		s.LagTxns, s.LagBytes = uint64(has-s.Pos.TXID), u.bytes
	}
	s.SnapshotPage, s.SnapshotPages = u.page, u.pages
	u.faults.Report(s)
}
