package fuse

import (
	"maps"
	"slices"
	"syscall"

	"weir/fuse/internal/apply"
)

// Directory is a mounted directory.
type Directory struct {
	Path   string // as configured
	Target string // Path without symbolic links

	d *directory
}

// Directories returns what is mounted.
func (m *Mounts) Directories() []Directory {
	var all []Directory
	for _, d := range m.dirs {
		all = append(all, Directory{d.path, d.target, d})
	}
	return all
}

// databases names the databases of ours in the directory that are there, or may come.
func (d *directory) databases() (names []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for name := range d.captures {
		if m := d.members[name]; m == nil || m.there {
			names = append(names, name)
		}
	}
	for name := range d.applies {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// replicas are the replicas in the directory.
func (d *directory) replicas() []*apply.Database {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.Collect(maps.Values(d.applies))
}

// Owners are the users that own the directory or one of the databases in it, once that exists.
func (d Directory) Owners() (uids []uint32) {
	if d.d == nil {
		return nil
	}
	for _, name := range append([]string{"."}, d.d.databases()...) {
		fi, err := d.d.root.Stat(name)
		if err != nil {
			continue // not there, or unmounted
		}
		uids = append(uids, fi.Sys().(*syscall.Stat_t).Uid)
	}
	return uids
}
