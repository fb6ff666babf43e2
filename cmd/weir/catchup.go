package main

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"weir/stream"
)

// bottomLine is standard error of a daemon. On a terminal it may have a progress bar at the bottom, which makes way for what is
// logged.
type bottomLine struct {
	std stdio

	mu   sync.Mutex
	bar  *progressbar.ProgressBar // nil: there is none
	what string                   // the bar is of; "" where it must be drawn even if nothing is new
	of   uint64
}

// Write writes what is logged, which is whole lines.
func (b *bottomLine) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		b.bar.Clear()
		b.what = ""
	}
	return b.std.err.Write(p)
}

// show draws a bar of what is done.
func (b *bottomLine) show(what string, done, of uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar == nil || b.of != of {
		b.drop()
		b.bar, b.of = newBar(b.std, int(of)), of
	}
	if b.what != what {
		b.what = what
		b.bar.Describe(what) // draws it
	}
	b.bar.Set64(int64(done))
}

func (b *bottomLine) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
}

// drop takes the bar away. The caller holds mu.
func (b *bottomLine) drop() {
	if b.bar != nil {
		b.bar.Clear()
		b.bar, b.what = nil, ""
	}
}

// catchUp shows how far replicas are with their first snapshot, and then with the transactions that they missed, until they have
// them.
type catchUp struct {
	line     *bottomLine
	statuses func() []stream.Status
	replicas map[string]*catchingUp // by path
	more     bool                   // there is a directory whose replicas come and go

	stop    context.CancelFunc
	running sync.WaitGroup
}

// startCatchUp shows nothing where there is no terminal, and no replica.
func startCatchUp(conf *config, line *bottomLine, statuses func() []stream.Status) *catchUp {
	ctx, stop := context.WithCancel(context.Background())
	c := &catchUp{line: line, statuses: statuses, replicas: make(map[string]*catchingUp), stop: stop}
	for _, db := range conf.DBs {
		switch {
		case db.Upstream != nil && db.Dir != "":
			c.more = true
		case db.Upstream != nil:
			c.replicas[db.Path] = new(catchingUp)
		}
	}
	if isTerminal(line.std.err) {
		c.running.Go(func() { c.run(ctx) })
	}
	return c
}

// close takes the bar away for good. It may be called several times.
func (c *catchUp) close() {
	c.stop()
	c.running.Wait()
}

func (c *catchUp) run(ctx context.Context) {
	defer c.line.clear()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for c.look() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look shows the first of the replicas of which there is something to show. It returns false when there never will be.
func (c *catchUp) look() (going bool) {
	if !c.going() {
		return false
	}
	shown := false
	for _, s := range c.statuses() {
		r := c.replicas[s.Path]
		if r == nil && c.more && s.Role == stream.RoleReplica {
			r = new(catchingUp)
			c.replicas[s.Path] = r
		}
		if r == nil || r.over {
			continue
		}
		what, done, of := r.at(s)
		if of > 0 && !shown {
			c.line.show(what+" of "+filepath.Base(s.Path), done, of)
			shown = true
		}
	}
	if !shown {
		c.line.clear()
	}
	return true
}

// going tells whether a replica has still to catch up, or another may come.
func (c *catchUp) going() bool {
	for _, r := range c.replicas {
		if !r.over {
			return true
		}
	}
	return c.more
}

// catchingUp is how a replica gets to where its upstream was when it was first heard of.
type catchingUp struct {
	from, to stream.TXID // to is 0 before
	over     bool
}

// at says of what how much is done at s; of is 0 where nothing can be said.
func (r *catchingUp) at(s stream.Status) (what string, done, of uint64) {
	switch {
	case s.SnapshotPages > 0:
		r.to = 0
		return "snapshot", uint64(s.SnapshotPage), uint64(s.SnapshotPages)
	case !s.Ready || !s.Connected || s.UpstreamPos.TXID == 0:
		return "", 0, 0
	case r.to == 0:
		r.from, r.to = s.Pos.TXID, s.UpstreamPos.TXID
	}
	if s.Pos.TXID >= r.to {
		r.over = true
		return "", 0, 0
	}
	return "transactions", uint64(max(s.Pos.TXID, r.from) - r.from), uint64(r.to - r.from)
}
