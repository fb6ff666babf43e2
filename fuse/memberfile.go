package fuse

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
)

// memberFile is an open file of a directory whose databases come and go, and is no companion of one. It may become a
// database, or another, while it is open: by a rename, or by what is written to it. So every request asks whose it is, and
// the kernel caches the file whether it is a database or not.
type memberFile struct {
	openFile
	node   *node
	writes bool
}

// openedMember makes the handle of a file that an app opened with flags.
func (n *node) openedMember(f *fs.LoopbackFile, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	writes := flags&unix.O_ACCMODE != unix.O_RDONLY
	if db := n.database(); db != nil {
		if err := db.Opened(dbfile.RoleDatabase); err != nil {
			f.Release(context.Background())
			return nil, 0, toErrno(err)
		}
	}
	if writes {
		n.writers.Add(1)
	}
	return &memberFile{openFile{f}, n, writes}, fuse.FOPEN_KEEP_CACHE, 0
}

// createdMember makes the handle of a file that an app has made. A database is captured from here on; where that fails
// there is no file.
func (n *node) createdMember(name string, inode *fs.Inode, f *fs.LoopbackFile, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if err := n.joinNew(name); err != nil {
		f.Release(context.Background())
		return nil, 0, toErrno(err)
	}
	file := inode.Operations().(*node)
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		file.writers.Add(1)
	}
	return &memberFile{openFile{f}, file, flags&unix.O_ACCMODE != unix.O_RDONLY}, fuse.FOPEN_KEEP_CACHE, 0
}

// joinNew has a new entry of n be captured, if it is a database, or removes it.
func (n *node) joinNew(name string) error {
	at, ok := n.at(name)
	if !ok {
		return nil
	}
	n.dir.moving.Lock()
	defer n.dir.moving.Unlock()
	err := n.dir.join(at)
	if db := n.dir.captured(at); db != nil && err == nil {
		err = db.Opened(dbfile.RoleDatabase)
	}
	if err != nil {
		err = errors.Join(err, n.dir.root.Remove(at))
	}
	return err
}

// errMoved says that a file has become another database's, or nobody's.
var errMoved = errors.New("the file has another name now")

// current is a memberFile as long as it is db's. Capture writes by it, and knows it again.
type current struct {
	f  *memberFile
	db *capture.Database
}

// WriteAt writes to the backing file.
func (c current) WriteAt(p []byte, off int64) (int, error) {
	if c.f.node.database() != c.db {
		return 0, errMoved
	}
	return backing{c.f.LoopbackFile}.WriteAt(p, off)
}

// change has captured change a file of n that is a database's, and plain one that is nobody's. Which it is does not change
// meanwhile: captured says so by errMoved, where its own lock did not keep it from that.
func (n *node) change(captured func(db *capture.Database) error, plain func() error) error {
	for {
		db := n.database()
		if db == nil {
			if done, err := n.changePlain(plain); done {
				return err
			}
			continue
		}
		if err := captured(db); !errors.Is(err, errMoved) {
			return err
		}
	}
}

func (n *node) changePlain(plain func() error) (done bool, err error) {
	n.dir.moving.RLock()
	defer n.dir.moving.RUnlock()
	if n.database() != nil {
		return false, nil
	}
	return true, plain()
}

var _ = (fs.FilePassthroughFder)((*memberFile)(nil))

// PassthroughFd keeps the file from being passed through.
func (f *memberFile) PassthroughFd() (int, bool) { return -1, false }

var _ = (fs.FileWriter)((*memberFile)(nil))

// Write writes to the backing file, a database's by way of capture.
func (f *memberFile) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	var n int
	err := f.node.change(func(db *capture.Database) (err error) {
		by := current{f, db}
		if n, err = db.Write(by, data, off); errors.Is(err, errMoved) {
			db.Released(by)
		}
		return err
	}, func() (err error) {
		n, err = backing{f.LoopbackFile}.WriteAt(data, off)
		return err
	})
	return uint32(n), toErrno(err)
}

var _ = (fs.FileAllocater)((*memberFile)(nil))

// Allocate tells capture of the space that it may add to a database.
func (f *memberFile) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	return toErrno(f.node.resize(int64(off+size), func() error { return asError(f.LoopbackFile.Allocate(ctx, off, size, mode)) }))
}

// resize runs op, which gives the file another size.
func (n *node) resize(size int64, op func() error) error {
	return n.change(func(db *capture.Database) error {
		return db.Truncate(size, func() error {
			if n.database() != db {
				return errMoved
			}
			return op()
		})
	}, op)
}

// setSize is resize where the size is set, for one: a file that is cut to nothing becomes a database.
func (n *node) setSize(size int64, op func() error) error {
	if size > 0 || n.database() != nil {
		return n.resize(size, op)
	}
	n.dir.moving.Lock()
	name, ok := n.name()
	err := op()
	if ok && err == nil {
		err = n.dir.join(name)
	}
	n.dir.moving.Unlock()
	return err
}

var _ = (fs.FileFsyncer)((*memberFile)(nil))

// Fsync syncs the backing file.
func (f *memberFile) Fsync(_ context.Context, flags uint32) syscall.Errno {
	errno := syncFile(f.LoopbackFile, flags)
	if db := f.node.database(); db != nil && errno == 0 {
		db.SyncedDatabase(current{f, db})
	}
	return errno
}

var _ = (fs.FileFlusher)((*memberFile)(nil))

// Flush tells capture that a descriptor is closed.
func (f *memberFile) Flush(ctx context.Context) syscall.Errno {
	if db := f.node.database(); db != nil {
		db.Flushed()
	}
	return f.LoopbackFile.Flush(ctx)
}

var _ = (fs.FileReleaser)((*memberFile)(nil))

// Release tells capture that the last descriptor is closed. A file that is nobody's is captured from here on, if it has
// become a database: nobody who could write to it has it open.
func (f *memberFile) Release(ctx context.Context) syscall.Errno {
	db := f.node.database()
	if db != nil {
		db.Released(current{f, db})
	}
	errno := f.LoopbackFile.Release(ctx)
	if f.writes && f.node.writers.Add(-1) == 0 && db == nil {
		f.node.joinIdle()
	}
	return errno
}

// joinIdle has n's file be captured if it is a database, and nobody has it open to write to it.
func (n *node) joinIdle() {
	d := n.dir
	d.moving.Lock()
	defer d.moving.Unlock()
	name, ok := n.name()
	if !ok || n.writers.Load() > 0 {
		return
	}
	err := d.join(name)
	d.failedToJoin(name, err)
	if err != nil {
		d.logger.Error("a database can't be captured; that is tried again when it is opened", "db", d.pathOf(name), "err", err)
	}
}
