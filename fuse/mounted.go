package fuse

import (
	"os"
	"slices"
	"syscall"
)

// Directory is a mounted directory.
type Directory struct {
	Path   string // as configured
	Target string // Path without symbolic links

	root  *os.Root
	names []string // of its databases
}

// Directories returns what is mounted.
func (m *Mounts) Directories() []Directory {
	var all []Directory
	for _, d := range m.dirs {
		all = append(all, Directory{d.path, d.target, d.root, d.databases()})
	}
	return all
}

// databases names the databases of ours in the directory.
func (d *directory) databases() (names []string) {
	for name := range d.captures {
		names = append(names, name)
	}
	for name := range d.applies {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Owners are the users that own the directory or one of the databases in it, once that exists.
func (d Directory) Owners() (uids []uint32) {
	if d.root == nil {
		return nil
	}
	for _, name := range append([]string{"."}, d.names...) {
		fi, err := d.root.Stat(name)
		if err != nil {
			continue // not there, or unmounted
		}
		uids = append(uids, fi.Sys().(*syscall.Stat_t).Uid)
	}
	return uids
}
