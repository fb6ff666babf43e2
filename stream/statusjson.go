package stream

import (
	"encoding/json"
	"time"
)

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

	Streams []streamJSON `json:"streams,omitempty"`
	Gone    []goneJSON   `json:"gone,omitempty"`
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
		LogBytes: s.LogBytes, LogFirst: s.LogFirst, Followers: s.Followers, Streams: streamsJSON(s.Streams), Gone: gonesJSON(s.Gone),
		LastError: s.LastError, LastErrorAt: notZero(s.LastErrorAt), Errors: s.Errors,
	}
	if j.Streams == nil {
		j.Streams = []streamJSON{}
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
	if s.Streams, s.Gone, err = parseStreams(j.Streams, j.Gone); err != nil {
		return err
	}
	if j.UpstreamPos != "" {
		s.UpstreamPos, err = parsePosText(j.UpstreamPos)
	}
	return err
}

func streamsJSON(all []StreamStatus) (list []streamJSON) {
	for _, f := range all {
		list = append(list, streamJSON{
			f.Name, f.Addr, f.Since, f.Pos.String(), notZero(f.AckedAt), f.Lag.Seconds(), f.LagTxns, f.Bytes, streamsJSON(f.Streams), gonesJSON(f.Gone),
		})
	}
	return list
}

func gonesJSON(all []GoneStream) (list []goneJSON) {
	for _, g := range all {
		list = append(list, goneJSON{g.Name, g.Addr, g.Pos.String(), g.At, g.Reason})
	}
	return list
}

func parseStreams(streams []streamJSON, gones []goneJSON) (all []StreamStatus, gone []GoneStream, err error) {
	for _, j := range streams {
		f := StreamStatus{Name: j.Name, Addr: j.Addr, Since: j.Since, AckedAt: orZero(j.AckedAt), LagTxns: j.LagTxns, Lag: duration(j.LagSeconds), Bytes: j.LagBytes}
		if f.Pos, err = parsePosText(j.Pos); err != nil {
			return nil, nil, err
		}
		if f.Streams, f.Gone, err = parseStreams(j.Streams, j.Gone); err != nil {
			return nil, nil, err
		}
		all = append(all, f)
	}
	for _, j := range gones {
		pos, err := parsePosText(j.Pos)
		if err != nil {
			return nil, nil, err
		}
		gone = append(gone, GoneStream{j.Name, j.Addr, pos, j.At, j.Reason})
	}
	return all, gone, nil
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
