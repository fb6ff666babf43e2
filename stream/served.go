package stream

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// served is a database with its streams.
type served struct {
	path    string
	db      Database
	ctx     context.Context // ends the streams
	end     context.CancelFunc
	streams sync.WaitGroup          // handlers; added to under Server.mu while in dbs
	open    map[*connected]struct{} // guarded by Server.mu
	gone    []GoneStream            // the last to go is the last. Guarded by Server.mu.
}

// connected is an open stream as /status shows it.
type connected struct {
	token string // names it in acknowledgements
	name  string // that it gave itself
	addr  string
	since time.Time

	reader *LogReader // of what follows one after another; nil while pages are sent. Guarded by Server.mu.
	acked  ack        // guarded by Server.mu
}

// ack is what a follower says with a heartbeat: its position, and where and when the heartbeat came from, so that only the
// server's clock is used. Followers send it beside the stream, when their position has changed and now and then.
type ack struct {
	pos     Pos
	of      TXID      // the upstream's, as the heartbeat had it
	at      time.Time // the heartbeat's
	arrived time.Time // zero: there was none
	below   Followers // the follower's own
}

// fresh is for how long an ack says how a follower is: some heartbeats.
const fresh = 3 * time.Second

// begun notes that pages are sent no more.
func (s *Server) begun(c *connected, r *LogReader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.reader = r
}

// acknowledge takes a follower's ack.
func (s *Server) acknowledge(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if !s.opt.Allow(r, q.Get("path")) {
		http.Error(w, "not with these credentials", http.StatusForbidden)
		return
	}
	pos, err := parsePosText(q.Get("pos"))
	of, ofErr := strconv.ParseUint(q.Get("of"), 10, 64)
	at, atErr := strconv.ParseInt(q.Get("at"), 10, 64)
	if err != nil || ofErr != nil || atErr != nil {
		http.Error(w, "an acknowledgement has a pos, of and at, as the heartbeat", http.StatusBadRequest)
		return
	}
	now := time.Now()
	below, err := readFollowers(http.MaxBytesReader(w, r.Body, maxFollowers), now)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d, c := s.noteAck(q.Get("path"), q.Get("stream"), ack{pos, TXID(of), time.Unix(0, at), now, below})
	if d == nil {
		http.Error(w, "no such stream", http.StatusNotFound)
		return
	}
	w.Header().Set(standingHeader, c.standing(d.db.Log(), now).String())
	w.WriteHeader(http.StatusNoContent)
}

// noteAck returns whose ack it was, as it is then; nil where there is no such stream.
func (s *Server) noteAck(path, token string, a ack) (*served, connected) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dbs[path]
	if d == nil {
		return nil, connected{}
	}
	for c := range d.open {
		if c.token == token {
			c.acked = a
			return d, *c
		}
	}
	return nil, connected{}
}

// Followers returns who follows the database at path, for [FollowOptions].
func (s *Server) Followers(path string) Followers {
	s.mu.Lock()
	d := s.dbs[path]
	s.mu.Unlock()
	if d == nil {
		return Followers{}
	}
	return s.followersOf(d)
}

func (s *Server) followersOf(d *served) Followers {
	log, f := d.db.Log(), Followers{At: time.Now()}
	open, gone := s.followers(d, f.At)
	for _, c := range open {
		f.Streams = append(f.Streams, c.status(log, f.At))
	}
	f.Gone = gone
	return f
}

// followers returns the open streams as they are now, the oldest first, and what there was.
func (s *Server) followers(d *served, now time.Time) (open []connected, gone []GoneStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range d.open {
		open = append(open, *c)
	}
	slices.SortFunc(open, func(a, b connected) int { return a.since.Compare(b.since) })
	return open, d.missing(now)
}

// status is the state of a stream of a log.
func (c *connected) status(l *Log, now time.Time) StreamStatus {
	st := StreamStatus{Name: c.name, Addr: c.addr, Since: c.since, AckedAt: c.acked.arrived, Pos: c.pos(), Streams: c.acked.below.Streams, Gone: c.acked.below.Gone}
	published := l.Published().TXID
	switch {
	case st.Pos == Pos{}, st.Pos.TXID >= published:
	case st.Pos.TXID >= c.acked.of && now.Sub(c.acked.at) < fresh: // the log has only just moved on
		st.Lag = max(0, c.acked.arrived.Sub(c.acked.at))
	default:
		st.LagTxns, st.Bytes = uint64(published-st.Pos.TXID), l.bytesAfter(st.Pos.TXID)
		st.Lag = c.lag(l.committedAt(st.Pos.TXID+1), now)
	}
	return st
}

// lag is for how long the follower has not had all, at most: since the first transaction that it lacks was committed, by the
// primary's clock, which may be another's, or since it was last heard to have all. Where neither is known, since it came.
func (c *connected) lag(missing, now time.Time) time.Duration {
	had := missing
	if c.acked.pos.TXID >= c.acked.of && c.acked.at.After(had) {
		had = c.acked.at
	}
	if had.IsZero() {
		had = c.since
	}
	return max(0, now.Sub(had))
}

// pos is where the follower is: what it has acknowledged, or else what it was sent.
func (c *connected) pos() Pos {
	if c.acked.arrived.IsZero() && c.reader != nil {
		return c.reader.sent()
	}
	return c.acked.pos
}
