package main

import (
	"slices"
	"time"

	"weir/stream"
)

const (
	// defaultMaxLag is how far behind a replica may be that counts as well.
	defaultMaxLag = 10 * time.Second
	// defaultMaxGone is for how long a replica counts that has gone: as long as its upstream remembers it.
	defaultMaxGone = 24 * time.Hour
	// silentFor is from when on a replica that is connected has said nothing for too long: it acknowledges every 5 seconds.
	silentFor = 15 * time.Second
)

// limits are up to where all counts as well.
type limits struct {
	lag  time.Duration // of a replica
	gone time.Duration // since a replica went: from then on it was removed on purpose
}

// unhealthy says in few words what is not well with a database, or with who follows it; "" where all is.
func unhealthy(s stream.Status, max limits) string {
	switch {
	case s.Upstream != "" && !s.Connected:
		return "not connected"
	case !s.Ready:
		return "not shown yet"
	case s.LastError != "":
		return "error"
	case s.Lag > max.lag:
		return "behind"
	case slices.ContainsFunc(s.Gone, func(g stream.GoneStream) bool { return missed(s.At.Sub(g.At), max) }):
		return "replica gone"
	case slices.ContainsFunc(s.Streams, func(f stream.StreamStatus) bool { return silent(f, s.At) }):
		return "replica silent"
	case slices.ContainsFunc(s.Streams, func(f stream.StreamStatus) bool { return !f.AckedAt.IsZero() && f.Lag > max.lag }):
		return "replica behind"
	}
	return ""
}

// missed tells whether a replica is missed that has been away for so long: it may be restarted, and it may have been removed.
func missed(away time.Duration, max limits) bool { return away > max.lag && away <= max.gone }

// silent tells whether a replica has not been heard for too long. Other readers say nothing at all.
func silent(f stream.StreamStatus, now time.Time) bool {
	return !f.AckedAt.IsZero() && now.Sub(f.AckedAt) > silentFor
}
