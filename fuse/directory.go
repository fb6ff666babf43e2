package fuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"weir/fuse/internal/apply"
	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/scrub"
	"weir/fuse/internal/state"
	"weir/stream"
)

// directory is one mounted directory and the databases of ours in it.
type directory struct {
	path     string // as configured
	target   string // path without symbolic links, mounted over
	readOnly bool   // all its databases are replicas
	// passthrough says that the kernel reads and writes files by itself.
	passthrough bool
	passAtOnce  bool // see Config
	logger      *slog.Logger
	scrub       scrub.Timing

	stale    bool // a dead daemon's mount is on target
	attached bool // ours is, or below a dead one

	tree    int      // descriptor of the directory below all mounts of weirs, or -1: root is in what everybody sees
	root    *os.Root // the directory below the mount
	backing *os.File // the same, as a descriptor that can be named under /proc
	lock    *os.File // held so that no second daemon works on the directory

	patterns []Pattern // of databases that come and go

	// moving is held where a file gets another name, and read-held where one is written that is no database's.
	moving  sync.RWMutex
	wake    chan struct{}  // of one: members have come or gone
	waiting sync.WaitGroup // for members' first pages

	mu       sync.RWMutex
	captures map[string]*capture.Database // by name below the directory; primaries. Guarded by mu.
	members  map[string]*member           // those of captures that come and go. Guarded by mu.
	applies  map[string]*apply.Database   // replicas. Guarded by mu.
	leaving  map[string]bool              // replicas that are taken away. Guarded by mu.
	locks    map[string]io.Closer         // one for each database. Guarded by mu.
	failed   map[string]error             // why files that are databases are not captured. Guarded by mu.
	faults   stream.Faults                // of these. Guarded by mu.
	id       string                       // of a directory with patterns. Guarded by mu.

	followers *followers // of a directory of replicas with patterns

	watcher *watcher
	inside  inside // of a directory of primaries
	// releases are the requests to release a handle.
	releases barrier
	sb       *superblock
	node     *node

	mounting mounting // of all directories
	guard    *guard   // of all directories
}

// openDirectory opens the directory at path, whose own is target. With below it
// looks below mounts of weirs, by a thread that is apart.
func openDirectory(path, target string, readOnly, below bool, logger *slog.Logger) (_ *directory, err error) {
	d := &directory{
		path: path, target: target, readOnly: readOnly, logger: logger, tree: -1, wake: make(chan struct{}, 1),
		captures: make(map[string]*capture.Database), members: make(map[string]*member), applies: make(map[string]*apply.Database),
		leaving: make(map[string]bool), locks: make(map[string]io.Closer), failed: make(map[string]error),
	}
	at := target
	if below {
		if d.tree, err = cloneTree(target); err != nil {
			return nil, err
		}
		at = fmt.Sprintf("/proc/self/fd/%d", d.tree)
	}
	if err := d.open(at); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", target, err), d.close())
	}
	return d, nil
}

// locate makes the directory at path and finds its path without symbolic links.
func locate(path string, below bool) (target string, err error) {
	if below {
		if err := uncover(path); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", fmt.Errorf("create the directory to mount: %w", err)
	}
	target, err = filepath.EvalSymlinks(path)
	if err == nil && below {
		err = uncover(target)
	}
	return target, err
}

// lockName is the file in .weir that is locked by who has the directory mounted.
const lockName = "lock"

func (d *directory) open(at string) (err error) {
	if d.root, err = os.OpenRoot(at); err != nil {
		return err
	}
	if d.backing, err = d.root.Open("."); err != nil {
		return err
	}
	if err := d.root.MkdirAll(state.Dir, 0o700); err != nil {
		return err
	}
	if d.lock, err = d.root.OpenFile(filepath.Join(state.Dir, lockName), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
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

// below is the path of the entry called name below the mount.
func (d *directory) below(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.backing.Fd(), name)
}

// begin makes the file system and shows it, unless a dead mount hides the
// directory.
func (d *directory) begin() error {
	if err := d.serve(); err != nil {
		return err
	}
	if d.stale {
		return nil
	}
	return d.attach(0)
}

// serve makes the file system of the directory.
func (d *directory) serve() error {
	loopback, err := fusefs.NewLoopbackRoot(d.below("."))
	if err != nil {
		return err
	}
	data := loopback.(*fusefs.LoopbackNode).RootData
	d.node = d.newNode(data)
	data.RootNode = d.node
	timeout := forever
	if d.readOnly {
		timeout = time.Second // the daemon writes files by itself: the kernel knows of their sizes, and not of their times
	}
	of, err := d.mounting.mount(d)
	if err != nil {
		return err
	}
	if d.sb, err = newSuperblock(of, d.node, &d.releases, timeout, d.passthrough, d.logger); err != nil {
		return err
	}
	d.guard.watch(d.sb)
	d.inside.through(d.sb)
	return nil
}

// attach shows the directory through weir. The flags are of move_mount(2).
func (d *directory) attach(flags int) error {
	err := d.mounting.show(d, flags)
	d.attached = d.attached || err == nil
	return err
}

func (d *directory) newNode(data *fusefs.LoopbackRoot) *node {
	return &node{LoopbackNode: fusefs.LoopbackNode{RootData: data}, dir: d}
}

// changed tells the kernel that the entry called name is not what it was.
func (d *directory) changed(name string) {
	parent := d.inode(filepath.Dir(name))
	if parent == nil {
		return
	}
	if child := parent.GetChild(filepath.Base(name)); child != nil {
		child.NotifyContent(-1, 0)
	}
	parent.NotifyEntry(filepath.Base(name))
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

// opened makes the handle for a file that an app opened or created with flags; mode
// is its node's.
func (d *directory) opened(f *fusefs.LoopbackFile, db *capture.Database, role dbfile.Role, mode *ioMode, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	switch {
	case d.readOnly:
		return replicaFile{openFile{f}}, fuse.FOPEN_NOFLUSH | fuse.FOPEN_KEEP_CACHE, 0
	case db == nil:
		return openFile{f}, fuse.FOPEN_KEEP_CACHE, 0
	}
	if err := d.watch(f, db, role); err != nil {
		f.Release(context.Background())
		return nil, 0, toErrno(err)
	}
	switch role {
	case dbfile.RoleDatabase:
		return d.openedDatabase(f, db, mode, flags)
	case dbfile.RoleWAL, dbfile.RoleJournal: // SQLite syncs what must last, and asks nothing of a close
		return &companionFile{openFile{f}, db, role}, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
	}
	return &companionFile{openFile{f}, db, role}, fuse.FOPEN_KEEP_CACHE, 0
}

// openedDatabase is opened for a database.
func (d *directory) openedDatabase(f *fusefs.LoopbackFile, db *capture.Database, mode *ioMode, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	passed, stale := mode.enter(func() bool { return d.passthrough && db.MayPass() }, &d.releases)
	file := &databaseFile{openFile{f}, db, mode, passed}
	if passed {
		db.PassThrough(backing{f}, flags&unix.O_ACCMODE == unix.O_WRONLY)
		if err := d.watchWrites(f, db.Written); err != nil {
			file.Release(context.Background())
			return nil, 0, toErrno(err)
		}
	}
	if stale {
		return file, 0, 0
	}
	return file, fuse.FOPEN_KEEP_CACHE, 0
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
	return d.watchWrites(f, db.Look)
}

// watchWrites calls written after each write to f's backing file.
func (d *directory) watchWrites(f *fusefs.LoopbackFile, written func()) error {
	fd, ok := f.PassthroughFd()
	if !ok {
		return syscall.EBADF
	}
	return d.watcher.add(fmt.Sprintf("/proc/self/fd/%d", fd), written)
}
