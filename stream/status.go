package stream

import (
	"encoding/json"
	"time"
)

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
	Ready    bool   // readers are shown a database; true on a primary
	WAL      WALStatus

	// Set by the server.
	LogBytes  int64 // of the log's segments
	LogFirst  TXID  // the oldest transaction in the log, 0 where it has none
	Followers int   // streams that the server has open
	Streams   []StreamStatus

	// This is a replica's. LagTxns and LagBytes are to the upstream as last heard, Lag to the primary.
	Upstream    string
	UpstreamPos Pos // as last heard
	Connected   bool
	Lag         time.Duration // how far behind the primary, at least
	LagTxns     uint64
	LagBytes    int64 // of the upstream's log

	LastError   string // that still stands
	LastErrorAt time.Time
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
	Addr    string        // its end of the connection
	Since   time.Time     // when it connected
	Pos     Pos           // what it has acknowledged, or else what it was sent; zero while pages are sent
	AckedAt time.Time     // when it last did; zero where it never has
	LagTxns uint64        // from Pos to what is published
	Lag     time.Duration // how long ago it had all, at most
	Bytes   int64         // of the log, from Pos to what is published
}

// statusJSON is a Status on the wire.
type statusJSON struct {
	Path     string `json:"path"`
	Role     string `json:"role"`
	ID       string `json:"id"`
	Pos      string `json:"pos"`
	PageSize uint32 `json:"pageSizeBytes"`
	Size     uint32 `json:"sizePages"`
	Ready    bool   `json:"ready"`
	WALStatus
	LogBytes  int64        `json:"logBytes"`
	LogFirst  TXID         `json:"logFirstTXID"`
	Followers int          `json:"followers"`
	Streams   []streamJSON `json:"streams"`
	*replicaJSON
	LastError   string     `json:"lastError,omitempty"`
	LastErrorAt *time.Time `json:"lastErrorAt,omitempty"`
}

type replicaJSON struct {
	Upstream    string  `json:"upstream"`
	UpstreamPos string  `json:"upstreamPos"`
	Connected   bool    `json:"connected"`
	LagSeconds  float64 `json:"lagSeconds"`
	LagTxns     uint64  `json:"lagTxns"`
	LagBytes    int64   `json:"lagBytes"`
}

type streamJSON struct {
	Addr       string     `json:"addr"`
	Since      time.Time  `json:"since"`
	Pos        string     `json:"pos"`
	AckedAt    *time.Time `json:"ackedAt,omitempty"`
	LagSeconds float64    `json:"lagSeconds"`
	LagTxns    uint64     `json:"lagTxns"`
	LagBytes   int64      `json:"lagBytes"`
}

// MarshalJSON writes positions as the stream's URLs have them, and lags in
// seconds.
func (s Status) MarshalJSON() ([]byte, error) {
	j := statusJSON{
		Path: s.Path, Role: s.Role, ID: s.ID, Pos: s.Pos.String(), PageSize: s.PageSize, Size: s.Size, Ready: s.Ready, WALStatus: s.WAL,
		LogBytes: s.LogBytes, LogFirst: s.LogFirst, Followers: s.Followers, Streams: make([]streamJSON, 0, len(s.Streams)),
		LastError: s.LastError, LastErrorAt: notZero(s.LastErrorAt),
	}
	for _, f := range s.Streams {
		j.Streams = append(j.Streams, streamJSON{f.Addr, f.Since, f.Pos.String(), notZero(f.AckedAt), f.Lag.Seconds(), f.LagTxns, f.Bytes})
	}
	if s.Role == RoleReplica {
		j.replicaJSON = &replicaJSON{s.Upstream, s.UpstreamPos.String(), s.Connected, s.Lag.Seconds(), s.LagTxns, s.LagBytes}
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
		Path: j.Path, Role: j.Role, ID: j.ID, PageSize: j.PageSize, Size: j.Size, Ready: j.Ready, WAL: j.WALStatus,
		LogBytes: j.LogBytes, LogFirst: j.LogFirst, Followers: j.Followers, Upstream: j.Upstream, Connected: j.Connected,
		Lag: duration(j.LagSeconds), LagTxns: j.LagTxns, LagBytes: j.LagBytes, LastError: j.LastError, LastErrorAt: orZero(j.LastErrorAt),
	}
	if s.Pos, err = parsePosText(j.Pos); err != nil {
		return err
	}
	for _, f := range j.Streams {
		pos, err := parsePosText(f.Pos)
		if err != nil {
			return err
		}
		s.Streams = append(s.Streams, StreamStatus{f.Addr, f.Since, pos, orZero(f.AckedAt), f.LagTxns, duration(f.LagSeconds), f.LagBytes})
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
