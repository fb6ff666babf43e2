package fuse

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
)

// Pattern is the databases of a directory that have matching names, as they come and go.
type Pattern struct {
	Dir       string    // absolute; the mount goes over it
	Match     string    // what their file names match, as [filepath.Match] has it
	Recursive bool      // in the directories below Dir, too
	Upstream  *Upstream // nil on a primary; its Path is the directory's there
}

// String names the pattern, as in /data/*.db and, where it is recursive, /data/**/*.db.
func (p Pattern) String() string {
	if p.Recursive {
		return filepath.Join(p.Dir, "**", p.Match)
	}
	return filepath.Join(p.Dir, p.Match)
}

// matches tells whether a file called name, below Dir, may be a database of the pattern's. Companions of a database are
// none, nor is what is in a directory of weir's own.
func (p Pattern) matches(name string) bool {
	dir, base := path.Split(name)
	if !fs.ValidPath(name) || base == "." || dir != "" && !p.Recursive || slices.Contains(strings.Split(name, "/"), state.Dir) {
		return false
	}
	if name == lockName {
		return false // its files would be where weir's lock is
	}
	if _, role := dbfile.RoleOf(base); role != dbfile.RoleDatabase {
		return false
	}
	ok, err := path.Match(p.Match, base)
	return ok && err == nil
}

// Find returns the paths of the files that may be the pattern's databases, and are below Dir now.
func (p Pattern) Find() (paths []string, err error) {
	root, err := os.OpenRoot(p.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	err = eachFile(root, p.Recursive, func(name string) error {
		if p.matches(name) {
			paths = append(paths, filepath.Join(p.Dir, name))
		}
		return nil
	})
	return paths, err
}

// find lists the files that are wanted of those that patterns match, and refuses databases that a process has open.
func (d *directory) find(wanted func(name string) bool) (names []string, err error) {
	err = eachFile(d.root, d.recursive(), func(name string) error {
		if d.pattern(name) != nil && wanted(name) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return names, d.checkUnused(names...)
}

// pattern is the first of the directory's that matches name, nil where none does.
func (d *directory) pattern(name string) *Pattern {
	for i := range d.patterns {
		if d.patterns[i].matches(name) {
			return &d.patterns[i]
		}
	}
	return nil
}

// recursive tells whether databases of ours may be in directories below the mounted one.
func (d *directory) recursive() bool {
	return slices.ContainsFunc(d.patterns, func(p Pattern) bool { return p.Recursive })
}

// roleOf is [dbfile.RoleOf] of a name below the mounted directory.
func roleOf(name string) (db string, role dbfile.Role) {
	dir, base := path.Split(name)
	db, role = dbfile.RoleOf(base)
	if role == dbfile.RoleOther {
		return "", role
	}
	return dir + db, role
}

// eachFile calls f with the name of each file that is below root, recursively or not, and not weir's own.
func eachFile(root *os.Root, recursive bool, f func(name string) error) error {
	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != "." && (e.Name() == state.Dir || !recursive):
			return fs.SkipDir
		case e.Type().IsRegular():
			return f(name)
		}
		return nil
	})
}
