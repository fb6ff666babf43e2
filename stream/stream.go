package stream

import (
	"context"
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

// Replica is what [Follow] feeds. Its methods are called by one goroutine, but for Told.
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
	// It may go on with those that are here already, which payload has once
	// more has said so, and publish them together.
	Apply(ctx context.Context, payload io.Reader, n int64, more More) error

	// BeginSnapshot begins a snapshot, or a delta to what Sums returned.
	BeginSnapshot(ctx context.Context, h SnapshotHeader) (SnapshotWriter, error)

	// Heard tells of a heartbeat. An error that is ErrPosMismatch says that the
	// replica's pages are not what Sums should have: Follow asks for a delta.
	Heard(Heartbeat) error

	// Told tells how the replica stands, as the upstream answered to what was asked at a time. It is called by another
	// goroutine than the rest. An upstream may not say it.
	Told(s Standing, asked time.Time)

	// SetConnected tells that the stream has begun, or why it ended.
	SetConnected(bool, error)
}

// More ends a transaction that was read to its end, and begins the next, of n
// bytes, if all of it is here: it does not wait.
type More func() (n int64, ok bool, err error)

// Heartbeat is what the upstream says of itself now and then.
type Heartbeat struct {
	Pos    Pos           // its position
	At     time.Time     // its clock then
	Lag    time.Duration // how far it was then behind its own upstream; 0 on a primary
	Behind int64         // bytes of its log that this stream had still to send
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
