package fuse

import (
	"strings"

	"weir/stream"
)

// servedDirectory is a directory whose databases come and go, as a server shows it.
type servedDirectory struct{ d *directory }

var _ = (stream.Directory)(servedDirectory{})

// Dir implements [stream.Directory].
func (s servedDirectory) Dir() string { return s.d.path }

// ID implements [stream.Directory].
func (s servedDirectory) ID() string {
	s.d.mu.RLock()
	defer s.d.mu.RUnlock()
	return s.d.id
}

// Whole implements [stream.Directory]. A replica's databases are not whole before it has heard of all.
func (s servedDirectory) Whole() error {
	if s.d.followers == nil {
		return nil
	}
	return s.d.followers.whole()
}

// Status implements [stream.Directory].
func (s servedDirectory) Status() stream.Status {
	st := stream.Status{Path: s.d.patternNames(), Role: stream.RoleDirectory, Ready: true}
	if f := s.d.followers; f != nil {
		f.status(&st)
		return st
	}
	s.d.mu.RLock()
	defer s.d.mu.RUnlock()
	s.d.faults.Report(&st)
	return st
}

// patternNames names the directory's patterns, as in /data/*.db or /data/{*.db,*.sqlite}.
func (d *directory) patternNames() string {
	if len(d.patterns) == 1 {
		return d.patterns[0].String()
	}
	var all []string
	for _, p := range d.patterns {
		all = append(all, strings.TrimPrefix(p.String(), d.path+"/"))
	}
	return d.pathOf("{" + strings.Join(all, ",") + "}")
}
