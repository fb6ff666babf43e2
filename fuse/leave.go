package fuse

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
)

// makeParents makes the directories that a replica is in.
func (d *directory) makeParents(name string) error {
	dir := filepath.Dir(name)
	if dir == "." {
		return nil
	}
	if err := d.makeParents(dir); err != nil {
		return err
	}
	return d.makeDirectory(dir)
}

// makeDirectory makes a directory unless it is there. It belongs to whom the mounted one belongs.
func (d *directory) makeDirectory(name string) error {
	if err := d.root.Mkdir(name, 0o755); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	fi, err := d.root.Stat(".")
	if err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	if err := d.root.Lchown(name, int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	d.changed(name)
	return state.SyncParent(d.root, name)
}

// leave hides a replica: nobody opens it any more.
func (d *directory) leave(name string) {
	d.mu.Lock()
	m := d.mountOf(name)
	d.mu.Unlock()
	if m != nil {
		m.openFiles(name) // what its end needs; without, that finds it missing, and says so
	}
	d.mu.Lock()
	d.leaving[name] = true
	d.mu.Unlock()
	d.changed(name)
}

// left ends leave.
func (d *directory) left(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.leaving, name)
}

// mountOf is a replica's. The caller holds mu.
func (d *directory) mountOf(name string) *replicaMount {
	m, _ := d.locks[name].(*replicaMount)
	return m
}

// removeReplica ends the replica called name, if there is one. Nobody follows it any more.
func (d *directory) removeReplica(name string) error {
	replica := d.applied(name)
	if replica == nil {
		return nil
	}
	err := replica.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.locks[name]; l != nil {
		err = errors.Join(err, l.Close())
	}
	delete(d.locks, name)
	delete(d.applies, name)
	return err
}

// asidePrefix and asideSuffix are around the number of a directory in which the files of a replica are kept that was
// set aside; the newest three are.
const (
	asidePrefix = "removed."
	asideSuffix = ".bad"
	asideKept   = 3
)

// setReplicaAside moves the files of a replica to weir's own, and takes directories away that have nothing any more. It
// returns where they are.
func (d *directory) setReplicaAside(name string) (to string, err error) {
	own := state.Path(name)
	n, err := d.nextAside(own)
	if err != nil {
		return "", err
	}
	to = asideDir(own, n)
	if err := d.root.Mkdir(to, 0o700); err != nil {
		return "", err
	}
	// The database last: what a crash leaves is no other than it was.
	for _, suffix := range []string{dbfile.SuffixJournal, dbfile.SuffixSHM, dbfile.SuffixWAL, ""} {
		err := d.root.Rename(name+suffix, filepath.Join(to, filepath.Base(name)+suffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return to, err
		}
		d.changed(name + suffix)
	}
	err = errors.Join(state.SyncParent(d.root, filepath.Join(to, filepath.Base(name))), state.SyncParent(d.root, to), state.SyncParent(d.root, name))
	for dir := filepath.Dir(name); dir != "." && d.root.Remove(dir) == nil; dir = filepath.Dir(dir) {
		d.changed(dir)
	}
	return to, errors.Join(err, d.trimAside(own, n-asideKept))
}

func asideDir(own string, n int) string {
	return filepath.Join(own, fmt.Sprintf("%s%d%s", asidePrefix, n, asideSuffix))
}

// nextAside is the number after those that were given in own.
func (d *directory) nextAside(own string) (next int, err error) {
	return next, d.eachAside(own, func(n int) error {
		next = max(next, n+1)
		return nil
	})
}

// trimAside removes what was set aside under a number up to last.
func (d *directory) trimAside(own string, last int) error {
	return d.eachAside(own, func(n int) error {
		if n > last {
			return nil
		}
		return d.root.RemoveAll(asideDir(own, n))
	})
}

func (d *directory) eachAside(own string, do func(n int) error) error {
	entries, err := fs.ReadDir(d.root.FS(), own)
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), asidePrefix)
		number, is := strings.CutSuffix(rest, asideSuffix)
		n, err := strconv.Atoi(number)
		if !ok || !is || err != nil || n < 0 {
			continue
		}
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}

// inode is what the kernel knows at a path below the directory, nil where that is nothing.
func (d *directory) inode(name string) *gofs.Inode {
	at := d.node.EmbeddedInode()
	if name == "." {
		return at
	}
	for part := range strings.SplitSeq(name, string(os.PathSeparator)) {
		if at = at.GetChild(part); at == nil {
			return nil
		}
	}
	return at
}
