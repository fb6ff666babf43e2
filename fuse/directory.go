package fuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"weir/fuse/internal/apply"
	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/rollback"
	"weir/fuse/internal/scrub"
	"weir/fuse/internal/state"
)

// directory is one mounted directory and the databases of ours in it.
type directory struct {
	path     string // as configured
	target   string // path without symbolic links, mounted over
	readOnly bool   // all its databases are replicas
	// passthrough says that the kernel reads and writes all files by itself but a
	// primary's database.
	passthrough bool
	logger      *slog.Logger
	scrub       scrub.Timing

	root    *os.Root // the directory below the mount
	backing *os.File // the same, as a descriptor that can be named under /proc
	lock    *os.File // held so that no second daemon works on the directory

	captures map[string]*capture.Database // by name in the directory; primaries
	applies  map[string]*apply.Database   // replicas
	locks    []io.Closer                  // one for each database

	watcher *watcher
	inside  inside // of a directory of primaries
	sb      *superblock
	guard   *guard // of all directories
	node    *node
}

// openDirectory opens the directory at path, and creates it where it is missing.
func openDirectory(path string, readOnly bool, passthrough Passthrough, logger *slog.Logger) (*directory, error) {
	if err := replaceStale(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("create the directory to mount: %w", err)
	}
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		err = replaceStale(target)
	}
	if err != nil {
		return nil, err
	}
	d := &directory{path: path, target: target, readOnly: readOnly, logger: logger, captures: make(map[string]*capture.Database), applies: make(map[string]*apply.Database)}
	if err = d.open(); err != nil {
		err = fmt.Errorf("%s: %w", target, err)
	} else {
		err = d.choosePassthrough(passthrough)
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *directory) open() (err error) {
	if d.root, err = os.OpenRoot(d.target); err != nil {
		return err
	}
	if d.backing, err = d.root.Open("."); err != nil {
		return err
	}
	if err := d.root.MkdirAll(state.Dir, 0o700); err != nil {
		return err
	}
	if d.lock, err = d.root.OpenFile(filepath.Join(state.Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := lockFile(d.lock); err != nil {
		return fmt.Errorf("%s is in use by another weir: %w", d.path, err)
	}
	d.watcher, err = newWatcher()
	return err
}

// lockFile locks f, or says that another process has it. A process that is just
// being started has its parent's locks until exec.
func lockFile(f *os.File) (err error) {
	for range busyTries {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		time.Sleep(busyPause)
	}
	return err
}

// add opens a database for capture, or, where it is a replica, for apply.
func (d *directory) add(of Database) error {
	path, name := of.Path, filepath.Base(of.Path)
	if err := d.checkUnused(name, path); err != nil {
		return err
	}
	if of.Upstream != nil {
		db, err := apply.Open(d.root, name, apply.Options{Path: path, Upstream: of.Upstream.URL, Logger: d.logger, Scrub: d.scrub})
		if err != nil {
			return err
		}
		d.applies[name] = db
		return nil
	}
	if err := rollback.Journal(path); err != nil {
		return err
	}
	lock := &writerLock{inside: &d.inside, name: name}
	db, err := capture.Open(d.root, name, capture.Options{Path: path, Logger: d.logger, Intercepted: !d.passthrough, Locks: lock, Scrub: d.scrub})
	if err != nil {
		return err
	}
	d.captures[name] = db
	d.locks = append(d.locks, lock)
	return nil
}

// checkUnused refuses a database that a process has open: it would go on
// behind the mount's back.
func (d *directory) checkUnused(name, path string) error {
	var files []fileID
	for _, role := range []dbfile.Role{dbfile.RoleDatabase, dbfile.RoleWAL, dbfile.RoleSHM} {
		id, err := identify(d.below(name + role.Suffix()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		files = append(files, id)
	}
	if len(files) == 0 {
		return nil
	}
	if holders := holdersOf(sameFile(files)); len(holders) > 0 {
		return &BusyError{Path: path, Holders: holders, Reason: "it opened the database before weir was mounted; stop it, then start weir"}
	}
	return nil
}

// below is the path of the entry called name below the mount.
func (d *directory) below(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.backing.Fd(), name)
}

// mount shows the directory through weir.
func (d *directory) mount() error {
	loopback, err := fusefs.NewLoopbackRoot(d.below("."))
	if err != nil {
		return err
	}
	data := loopback.(*fusefs.LoopbackNode).RootData
	d.node = d.newNode(data)
	data.RootNode = d.node
	timeout := forever
	if d.readOnly {
		timeout = time.Second // the daemon changes files by itself; it says so, but for a growing WAL
	}
	if d.sb, err = newSuperblock(d.node, timeout, d.passthrough, d.logger); err != nil {
		return err
	}
	d.guard.watch(d.sb)
	for name, db := range d.applies {
		if err := d.attachReplica(name, db); err != nil {
			return err
		}
	}
	d.inside.through(d.sb)
	return d.sb.attach(d.target, d.readOnly)
}

func (d *directory) newNode(data *fusefs.LoopbackRoot) *node {
	return &node{LoopbackNode: fusefs.LoopbackNode{RootData: data}, dir: d}
}

// attachReplica gives apply the locks that readers take, and a way to say what changed.
func (d *directory) attachReplica(name string, db *apply.Database) error {
	fd, err := d.sb.open(name+dbfile.SuffixSHM, unix.O_RDWR)
	if err != nil {
		return err
	}
	locks := &readerLocks{fd: fd}
	d.locks = append(d.locks, locks)
	if err := locks.hold(); err != nil {
		return fmt.Errorf("lock the wal-index of %s: %w", db.Status().Path, err)
	}
	db.Attach(&replicaMount{locks, d})
	return nil
}

// changed tells the kernel that the entry called name, its size or its
// existence, is not what it was.
func (d *directory) changed(name string) {
	if child := d.node.GetChild(name); child != nil {
		child.NotifyContent(-1, 0)
	}
	d.node.NotifyEntry(name)
}

// readAt reads all of b from the file called name.
func (d *directory) readAt(name string, b []byte, off int64) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(b, off)
	return errors.Join(err, f.Close())
}

// opened makes the handle for a file that an app opened or created.
func (d *directory) opened(f *fusefs.LoopbackFile, db *capture.Database, role dbfile.Role) (fusefs.FileHandle, uint32, syscall.Errno) {
	switch {
	case d.readOnly:
		return openFile{f}, fuse.FOPEN_NOFLUSH | fuse.FOPEN_KEEP_CACHE, 0
	case db == nil:
		return openFile{f}, fuse.FOPEN_KEEP_CACHE, 0
	}
	if err := d.watch(f, db, role); err != nil {
		f.Release(context.Background())
		return nil, 0, toErrno(err)
	}
	if role == dbfile.RoleDatabase {
		return &databaseFile{openFile{f}, db}, fuse.FOPEN_KEEP_CACHE, 0
	}
	return &companionFile{openFile{f}, db, role}, fuse.FOPEN_KEEP_CACHE, 0
}

// watch has capture know of the open file, and of each write to a WAL: the
// kernel passes those through.
func (d *directory) watch(f *fusefs.LoopbackFile, db *capture.Database, role dbfile.Role) error {
	if err := db.Opened(role); err != nil {
		return err
	}
	if role != dbfile.RoleWAL || !d.passthrough {
		return nil
	}
	fd, ok := f.PassthroughFd()
	if !ok {
		return syscall.EBADF
	}
	return d.watcher.add(fmt.Sprintf("/proc/self/fd/%d", fd), db.Look)
}
