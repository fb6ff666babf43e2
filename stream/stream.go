package stream

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// SnapshotHeader describes a snapshot or delta as it starts.
type SnapshotHeader struct {
	Pos      Pos
	PageSize uint32 // bytes
	Size     uint32 // pages
}

// Database is what a [Server] serves.
type Database interface {
	Log() *Log

	// Snapshot streams every page whose checksum differs from have (nil: all
	// pages) while writes go on. begin is called once and first, with the
	// position at the start; the transactions after it up to until, applied
	// over the pages, give exactly the state at until. data is valid only
	// during the call of page.
	Snapshot(ctx context.Context, have *Sums, begin func(SnapshotHeader) error, page func(pgno uint32, data []byte) error) (until Pos, err error)

	Status() Status

	// Lag is how far behind what it replicates the database is; 0 on a primary.
	// Heartbeats carry it: it waits for no transaction that is being captured
	// or applied.
	Lag() time.Duration

	// Via lists the servers' instances from this database's upstream to the
	// primary, nearest first; none on a primary.
	Via() []string
}

// Replica is what [Follow] feeds. Its methods are called by one goroutine.
type Replica interface {
	// Pos returns the identity of the database and its position. A zero
	// position with no Sums is a replica that has nothing yet; with Sums it is
	// a database that must be compared with the upstream's.
	Pos() (id string, pos Pos)

	// Sums returns a copy of the page checksums, nil where there is no database.
	Sums() *Sums

	// Adopt tells a replica, as a stream begins, whose history the upstream's is
	// and the instances from there to the primary. [ErrOtherDatabase] says that
	// following it would overwrite what the replica has.
	Adopt(ctx context.Context, l Lineage, via []string) error

	// Apply applies the next transaction: n bytes of LTX. An error that is
	// ErrPosMismatch, ErrPageSize or ErrCorrupt makes Follow ask for a delta.
	Apply(ctx context.Context, payload io.Reader, n int64) error

	// BeginSnapshot begins a snapshot, or a delta to what Sums returned.
	BeginSnapshot(ctx context.Context, h SnapshotHeader) (SnapshotWriter, error)

	// Heard tells of the upstream's position, of its clock when it was there,
	// and how far it was then behind its own upstream.
	Heard(pos Pos, at time.Time, lag time.Duration)

	// SetConnected tells that the stream has begun, or why it ended.
	SetConnected(bool, error)
}

// SnapshotWriter takes a snapshot or delta: pages, then the transactions that
// committed meanwhile, then Commit. Abort ends it otherwise; one of the two is
// called, and last.
type SnapshotWriter interface {
	WritePage(pgno uint32, data []byte) error
	Apply(payload io.Reader, n int64) error

	// Commit publishes the database at until. ErrPosMismatch says that it is
	// not that state.
	Commit(ctx context.Context, until Pos) error
	Abort() error
}

// Values of [Status].Role.
const (
	RolePrimary = "primary"
	RoleReplica = "replica"
)

// Status is a database's state for GET /status.
type Status struct {
	Path     string
	Role     string // RolePrimary or RoleReplica
	ID       string
	Pos      Pos    // published
	PageSize uint32 // bytes
	Size     uint32 // pages

	Followers int // streams that the server has open; set by the server

	// The rest is a replica's.
	Upstream    string
	UpstreamPos Pos // as last heard
	Connected   bool
	Lag         time.Duration // how far behind the primary, at least

	LastError string // that still stands
}

// statusJSON is a Status on the wire.
type statusJSON struct {
	Path        string  `json:"path"`
	Role        string  `json:"role"`
	ID          string  `json:"id"`
	Pos         string  `json:"pos"`
	PageSize    uint32  `json:"pageSize"`
	Size        uint32  `json:"size"`
	Followers   int     `json:"followers"`
	Upstream    string  `json:"upstream,omitempty"`
	UpstreamPos string  `json:"upstreamPos,omitempty"`
	Connected   *bool   `json:"connected,omitempty"`
	LagSeconds  float64 `json:"lagSeconds,omitempty"`
	LastError   string  `json:"lastError,omitempty"`
}

// MarshalJSON writes positions as the stream's URLs have them, and the lag in
// seconds.
func (s Status) MarshalJSON() ([]byte, error) {
	j := statusJSON{
		Path: s.Path, Role: s.Role, ID: s.ID, Pos: s.Pos.String(), PageSize: s.PageSize, Size: s.Size,
		Followers: s.Followers, Upstream: s.Upstream, LagSeconds: s.Lag.Seconds(), LastError: s.LastError,
	}
	if s.Role == RoleReplica {
		j.UpstreamPos, j.Connected = s.UpstreamPos.String(), &s.Connected
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Status) UnmarshalJSON(b []byte) error {
	var j statusJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Status{
		Path: j.Path, Role: j.Role, ID: j.ID, PageSize: j.PageSize, Size: j.Size, Followers: j.Followers,
		Upstream: j.Upstream, Connected: j.Connected != nil && *j.Connected,
		Lag: time.Duration(j.LagSeconds * float64(time.Second)), LastError: j.LastError,
	}
	var err error
	if s.Pos, err = parsePosText(j.Pos); err != nil {
		return err
	}
	if j.UpstreamPos != "" {
		s.UpstreamPos, err = parsePosText(j.UpstreamPos)
	}
	return err
}
