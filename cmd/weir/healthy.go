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
	}
	return unwell(s.At, s.Streams, s.Gone, max)
}

// unwell says what is not well with replicas that follow, or with who follows those, as it was said of them at a time.
func unwell(at time.Time, streams []stream.StreamStatus, gone []stream.GoneStream, max limits) string {
	if slices.ContainsFunc(gone, func(g stream.GoneStream) bool { return missed(at.Sub(g.At), max) }) {
		return "replica gone"
	}
	for _, f := range streams {
		switch {
		case f.AckedAt.IsZero(): // it may be another reader, which never says where it is
		case at.Sub(f.AckedAt) > silentFor:
			return "replica silent"
		case f.Lag > max.lag:
			return "replica behind"
		}
		if below := unwell(f.AckedAt, f.Streams, f.Gone, max); below != "" {
			return below
		}
	}
	return ""
}

// missed tells whether a replica is missed that has been away for so long: it may be restarted, and it may have been removed.
func missed(away time.Duration, max limits) bool { return away > max.lag && away <= max.gone }
