package stream

import "time"

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

	// Who follows it, where it is a replica, as it said at AckedAt.
	Streams []StreamStatus
	Gone    []GoneStream
}

// GoneStream is a follower that is missing.
type GoneStream struct {
	Name   string
	Addr   string
	Pos    Pos       // where it was; zero where that is not known
	At     time.Time // when it went
	Reason string    // why, or why it was refused since
}
