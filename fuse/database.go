package fuse

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"weir/fuse/internal/apply"
	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/rollback"
)

// add opens a database for capture, or, where it is a replica, for apply.
// Mounted are all directories that may be mounted over.
func (d *directory) add(of Database, mounted []string) error {
	name := filepath.Base(of.Path)
	if err := d.awaitUnused(name); err != nil {
		return err
	}
	if of.Upstream != nil {
		return d.addReplica(of, name)
	}
	if err := d.rollBack(of.Path, name, mounted); err != nil {
		return err
	}
	_, err := d.openPrimary(of.Path, name)
	return err
}

// openPrimary opens the database called name for capture.
func (d *directory) openPrimary(path, name string) (*capture.Database, error) {
	lock := &writerLock{inside: &d.inside, name: name}
	db, err := capture.Open(d.root, name, capture.Options{Path: path, Logger: d.logger, Intercepted: !d.passthrough, Locks: lock, PassAtOnce: d.passAtOnce, Scrub: d.scrub})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.captures[name] = db
	d.locks[name] = lock
	return db, nil
}

func (d *directory) addReplica(of Database, name string) error {
	db, err := apply.Open(d.root, name, apply.Options{Path: of.Path, Upstream: of.Upstream.URL, Logger: d.logger, Scrub: d.scrub})
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.applies[name] = db
	d.mu.Unlock()
	return d.attachReplica(name, db)
}

// rollBack rolls back the hot journal of a database, if there is one. SQLite
// opens files by path, here and where a super-journal says, so it must see what
// is below the mounts.
func (d *directory) rollBack(path, name string, mounted []string) error {
	if _, err := d.root.Stat(name + dbfile.SuffixJournal); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return d.mounting.below(mounted, func() error { return rollback.Journal(path) })
}

// captured is the primary called name, nil where there is none.
func (d *directory) captured(name string) *capture.Database {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.captures[name]
}

// applied is the replica called name, nil where there is none.
func (d *directory) applied(name string) *apply.Database {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.applies[name]
}

// checkUnused refuses databases that a process has open: it would go on
// behind the mount's back.
func (d *directory) checkUnused(names ...string) error {
	files, err := d.filesOf(names)
	if err != nil || len(files) == 0 {
		return err
	}
	if holders := holdersOf(sameFile(files)); len(holders) > 0 {
		path := d.path
		if len(names) == 1 {
			path = filepath.Join(d.path, names[0])
		}
		return &BusyError{Path: path, Holders: holders, Reason: "it opened the database before weir was mounted; stop it, then start weir"}
	}
	return nil
}

// awaitUnused is checkUnused at the start. Nobody new gets in meanwhile: the gate is closed.
func (d *directory) awaitUnused(names ...string) error {
	for end := time.Now().Add(d.mounting.grace()); ; time.Sleep(busyPause) {
		err := d.checkUnused(names...)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
	}
}

// filesOf identifies the files of the databases that processes keep open.
func (d *directory) filesOf(names []string) (files []fileID, err error) {
	for _, name := range names {
		for _, role := range []dbfile.Role{dbfile.RoleDatabase, dbfile.RoleWAL, dbfile.RoleSHM} {
			id, err := identify(d.below(name + role.Suffix()))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			files = append(files, id)
		}
	}
	return files, nil
}

// attachReplica gives apply the locks that readers take, and a way to say what changed.
func (d *directory) attachReplica(name string, db *apply.Database) error {
	// Apps may have looked for them before they were there.
	d.changed(name + dbfile.SuffixSHM)
	d.changed(name + dbfile.SuffixWAL)
	fd, err := d.sb.open(name+dbfile.SuffixSHM, unix.O_RDWR)
	if err != nil {
		return err
	}
	m := &replicaMount{readerLocks: &readerLocks{fd: fd}, dir: d, files: make(map[string]int)}
	d.mu.Lock()
	d.locks[name] = m
	d.mu.Unlock()
	if err := m.hold(); err != nil {
		return fmt.Errorf("lock the wal-index of %s: %w", db.Status().Path, err)
	}
	if err := m.openFiles(name); err != nil {
		return err
	}
	db.Attach(m)
	return nil
}
