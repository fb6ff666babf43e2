package fuse

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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

// failedToJoin notes for the directory's status why a file is not captured; nil, that it is, or is no database.
func (d *directory) failedToJoin(name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && len(d.failed) == 0 {
		return
	}
	delete(d.failed, name)
	if err != nil {
		d.failed[name] = fmt.Errorf("%s is not captured: %w", d.pathOf(name), err)
	}
	var first error
	for _, name := range slices.Sorted(maps.Keys(d.failed)) {
		first = cmp.Or(first, d.failed[name])
	}
	d.faults.Note(first, time.Now())
}
