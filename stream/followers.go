package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Followers are who follows a database, and who has gone, at a time. A replica sends its own with its acknowledgements, so
// that each server up to the primary knows of all that are below it.
type Followers struct {
	At      time.Time // by the clock of the server that says it
	Streams []StreamStatus
	Gone    []GoneStream
}

// maxFollowers bounds what a replica says of its followers, in bytes: some hundred of them.
const maxFollowers = 64 << 10

// followersJSON is Followers as the body of an acknowledgement.
type followersJSON struct {
	At      time.Time    `json:"at"`
	Streams []streamJSON `json:"streams,omitempty"`
	Gone    []goneJSON   `json:"gone,omitempty"`
}

// encode is nil where nobody follows. Where they are too many, it has only some.
func (f Followers) encode() []byte {
	for len(f.Streams)+len(f.Gone) > 0 {
		b, err := json.Marshal(followersJSON{f.At, streamsJSON(f.Streams), gonesJSON(f.Gone)})
		if err == nil && len(b) <= maxFollowers {
			return b
		}
		f.Streams, f.Gone = f.Streams[:len(f.Streams)/2], f.Gone[:len(f.Gone)/2]
	}
	return nil
}

// readFollowers reads what encode made and makes its times those of this server's clock, by which it is now.
func readFollowers(r io.Reader, now time.Time) (f Followers, err error) {
	var j followersJSON
	if err := json.NewDecoder(r).Decode(&j); errors.Is(err, io.EOF) {
		return f, nil // it has none
	} else if err != nil {
		return f, fmt.Errorf("%w: followers: %w", ErrCorrupt, err)
	}
	if f.Streams, f.Gone, err = parseStreams(j.Streams, j.Gone); err != nil {
		return f, fmt.Errorf("%w: followers: %w", ErrCorrupt, err)
	}
	f.At = now
	clock{now, now.Sub(j.At)}.adopt(f.Streams, f.Gone, maxInstances)
	return f, nil
}

// clock is by how much this server's clock is before another one's.
type clock struct {
	now   time.Time
	ahead time.Duration
}

// adopt makes what another server says fit to be shown here: texts and times, and no longer chain of servers than there may be.
func (c clock) adopt(streams []StreamStatus, gone []GoneStream, servers int) {
	for i := range streams {
		f := &streams[i]
		f.Name, f.Addr, f.Since = cleanName(f.Name), cleanName(f.Addr), c.own(f.Since)
		if !f.AckedAt.IsZero() {
			f.AckedAt = c.own(f.AckedAt)
		}
		if servers == 1 {
			f.Streams, f.Gone = nil, nil
		}
		c.adopt(f.Streams, f.Gone, servers-1)
	}
	for i := range gone {
		g := &gone[i]
		g.Name, g.Addr, g.Reason, g.At = cleanName(g.Name), cleanName(g.Addr), cleanName(g.Reason), c.own(g.At)
	}
}

// own is the time by this server's clock: not in the future, nor before there were clocks.
func (c clock) own(t time.Time) time.Time {
	t = t.Add(c.ahead)
	switch epoch := time.Unix(0, 0); {
	case t.After(c.now):
		return c.now
	case t.Before(epoch):
		return epoch
	}
	return t
}
