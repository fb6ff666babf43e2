package stream

import (
	"encoding/json"
	"time"
)

// Values of [Status].Role.
const (
	RolePrimary   = "primary"
	RoleReplica   = "replica"
	RoleDirectory = "directory" // it is no database's: see [Directory]
)

// Status is a database's state for GET /status.
type Status struct {
	At       time.Time // when this was so, by the server's clock
	Path     string
	Role     string // RolePrimary, RoleReplica, or RoleDirectory, which has no positions, sizes and streams
	ID       string
	Pos      Pos    // published
	PageSize uint32 // bytes
	Size     uint32 // pages
	Ready    bool   // readers are shown a database; true on a primary
	WAL      WALStatus

	// Set by the server.
	LogBytes  int64 // of the log's segments
	LogFirst  TXID  // the oldest transaction in the log, 0 where it has none
	Followers int   // streams that the server has open
	Streams   []StreamStatus
	Gone      []GoneStream // who has followed in the last day, and does not now

	// This is a replica's. LagTxns and LagBytes are to the upstream as last heard, Lag to the primary.
	Upstream    string
	Distance    int // servers from here to the primary, 1 where that is the upstream; 0 while it is not known
	UpstreamPos Pos // as last heard
	Connected   bool
	Lag         time.Duration // how far behind the primary, at least
	LagTxns     uint64
	LagBytes    int64 // of the upstream's log

	// While the replica receives a snapshot or delta: up to which page, and how many the database had when that began.
	// SnapshotPages is 0 otherwise.
	SnapshotPage, SnapshotPages uint32

	LastError   string // that still stands
	LastErrorAt time.Time
	Errors      []Fault // the last ones, the newest last: also those that are over
}

// WALStatus is the state of a database's WAL. Frames are 0 where the wal-index cannot be read.
type WALStatus struct {
	Bytes      int64  `json:"walBytes"` // of the file
	Frames     uint32 `json:"walFrames"`
	Backfilled uint32 `json:"walBackfilledFrames"` // frames that are in the database

	// Who holds the oldest read-mark: frames after HeldFrame cannot be copied into the database.
	Held        bool   `json:"walHeld,omitempty"`
	HeldFrame   uint32 `json:"walHeldAtFrame,omitempty"`
	HeldPID     int    `json:"walHeldByPID,omitempty"` // 0 where it is in another PID namespace
	HeldCommand string `json:"walHeldByCommand,omitempty"`
}

// StreamStatus is a follower as its upstream knows it.
type StreamStatus struct {
	Name    string        // by which it calls itself; "": it does not
	Addr    string        // its end of the connection
	Since   time.Time     // when it connected
	Pos     Pos           // what it has acknowledged, or else what it was sent; zero while pages are sent
	AckedAt time.Time     // when it last did; zero where it never has
	LagTxns uint64        // from Pos to what is published
	Lag     time.Duration // how long ago it had all, at most
	Bytes   int64         // of the log, from Pos to what is published
}

// GoneStream is a follower that is missing.
type GoneStream struct {
	Name   string
	Addr   string
	Pos    Pos       // where it was; zero where that is not known
	At     time.Time // when it went
	Reason string    // why, or why it was refused since
}

// statusJSON is a Status on the wire.
type statusJSON struct {
	At       time.Time `json:"at"`
	Path     string    `json:"path"`
	Role     string    `json:"role"`
	ID       string    `json:"id"`
	Pos      string    `json:"pos"`
	PageSize uint32    `json:"pageSizeBytes"`
	Size     uint32    `json:"sizePages"`
	Ready    bool      `json:"ready"`
	WALStatus
	LogBytes  int64        `json:"logBytes"`
	LogFirst  TXID         `json:"logFirstTXID"`
	Followers int          `json:"followers"`
	Streams   []streamJSON `json:"streams"`
	Gone      []goneJSON   `json:"gone,omitempty"`
	*replicaJSON
	LastError   string     `json:"lastError,omitempty"`
	LastErrorAt *time.Time `json:"lastErrorAt,omitempty"`
	Errors      []Fault    `json:"errors,omitempty"`
}

type replicaJSON struct {
	Upstream    string  `json:"upstream"`
	Distance    int     `json:"distance,omitempty"`
	UpstreamPos string  `json:"upstreamPos"`
	Connected   bool    `json:"connected"`
	LagSeconds  float64 `json:"lagSeconds"`
	LagTxns     uint64  `json:"lagTxns"`
	LagBytes    int64   `json:"lagBytes"`

	SnapshotPage  uint32 `json:"snapshotPage,omitempty"`
	SnapshotPages uint32 `json:"snapshotPages,omitempty"`
}

type streamJSON struct {
	Name       string     `json:"name,omitempty"`
	Addr       string     `json:"addr"`
	Since      time.Time  `json:"since"`
	Pos        string     `json:"pos"`
	AckedAt    *time.Time `json:"ackedAt,omitempty"`
	LagSeconds float64    `json:"lagSeconds"`
	LagTxns    uint64     `json:"lagTxns"`
	LagBytes   int64      `json:"lagBytes"`
}

type goneJSON struct {
	Name   string    `json:"name"`
	Addr   string    `json:"addr"`
	Pos    string    `json:"pos"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// MarshalJSON writes positions as the stream's URLs have them, and lags in
// seconds.
func (s Status) MarshalJSON() ([]byte, error) {
	j := statusJSON{
		At: s.At, Path: s.Path, Role: s.Role, ID: s.ID, Pos: s.Pos.String(), PageSize: s.PageSize, Size: s.Size, Ready: s.Ready, WALStatus: s.WAL,
		LogBytes: s.LogBytes, LogFirst: s.LogFirst, Followers: s.Followers, Streams: make([]streamJSON, 0, len(s.Streams)),
		LastError: s.LastError, LastErrorAt: notZero(s.LastErrorAt), Errors: s.Errors,
	}
	for _, f := range s.Streams {
		j.Streams = append(j.Streams, streamJSON{f.Name, f.Addr, f.Since, f.Pos.String(), notZero(f.AckedAt), f.Lag.Seconds(), f.LagTxns, f.Bytes})
	}
	for _, g := range s.Gone {
		j.Gone = append(j.Gone, goneJSON{g.Name, g.Addr, g.Pos.String(), g.At, g.Reason})
	}
	if s.Role == RoleReplica || s.Upstream != "" {
		j.replicaJSON = &replicaJSON{s.Upstream, s.Distance, s.UpstreamPos.String(), s.Connected, s.Lag.Seconds(), s.LagTxns, s.LagBytes, s.SnapshotPage, s.SnapshotPages}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Status) UnmarshalJSON(b []byte) (err error) {
	j := statusJSON{replicaJSON: new(replicaJSON)}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Status{
		At: j.At, Path: j.Path, Role: j.Role, ID: j.ID, PageSize: j.PageSize, Size: j.Size, Ready: j.Ready, WAL: j.WALStatus,
		LogBytes: j.LogBytes, LogFirst: j.LogFirst, Followers: j.Followers, Upstream: j.Upstream, Distance: j.Distance, Connected: j.Connected,
		Lag: duration(j.LagSeconds), LagTxns: j.LagTxns, LagBytes: j.LagBytes,
		SnapshotPage: j.SnapshotPage, SnapshotPages: j.SnapshotPages, LastError: j.LastError, LastErrorAt: orZero(j.LastErrorAt), Errors: j.Errors,
	}
	if s.Pos, err = parsePosText(j.Pos); err != nil {
		return err
	}
	for _, f := range j.Streams {
		pos, err := parsePosText(f.Pos)
		if err != nil {
			return err
		}
		s.Streams = append(s.Streams, StreamStatus{f.Name, f.Addr, f.Since, pos, orZero(f.AckedAt), f.LagTxns, duration(f.LagSeconds), f.LagBytes})
	}
	for _, g := range j.Gone {
		pos, err := parsePosText(g.Pos)
		if err != nil {
			return err
		}
		s.Gone = append(s.Gone, GoneStream{g.Name, g.Addr, pos, g.At, g.Reason})
	}
	if j.UpstreamPos != "" {
		s.UpstreamPos, err = parsePosText(j.UpstreamPos)
	}
	return err
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func notZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orZero(t *time.Time) (zero time.Time) {
	if t == nil {
		return zero
	}
	return *t
}
