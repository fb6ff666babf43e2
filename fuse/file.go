package fuse

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
)

// openFile is an open backing file.
type openFile struct{ *fs.LoopbackFile }

var _ = (fs.FileReader)(openFile{})

// Read fills dest as far as the file goes. To the kernel a short answer is the
// end of the file: it shows zeros for the rest of the page. So where the disk
// fails after some bytes, it is the failure that is answered, and the kernel
// asks for what can be read page by page.
func (f openFile) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	fd, ok := f.PassthroughFd()
	if !ok {
		return nil, syscall.EBADF
	}
	n := 0
	for n < len(dest) {
		got, err := unix.Pread(fd, dest[n:], off+int64(n))
		if err != nil {
			return nil, fs.ToErrno(err)
		}
		if got == 0 {
			break
		}
		n += got
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// replicaFile is an open file in a directory of replicas.
type replicaFile struct{ openFile }

var _ = (fs.FileAllocater)(replicaFile{})

// Allocate makes the file long enough, and allocates nothing: only the daemon
// asks, to have the file grow.
func (f replicaFile) Allocate(_ context.Context, off, size uint64, _ uint32) syscall.Errno {
	fd, ok := f.PassthroughFd()
	if !ok {
		return syscall.EBADF
	}
	return fs.ToErrno(unix.Ftruncate(fd, int64(off+size)))
}

// databaseFile is an open database of a primary. The kernel caches it, and
// every write comes here, unless it is passed through.
type databaseFile struct {
	openFile
	d      *capture.Database
	mode   *ioMode // of the file's node; counts the handle where there is passthrough
	passed bool
}

var _ = (fs.FilePassthroughFder)((*databaseFile)(nil))

// PassthroughFd keeps the database from being passed through, or not.
func (f *databaseFile) PassthroughFd() (int, bool) {
	if !f.passed {
		return -1, false
	}
	return f.openFile.PassthroughFd()
}

var _ = (fs.FileWriter)((*databaseFile)(nil))

// Write writes to the backing file by way of capture.
func (f *databaseFile) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	n, err := f.d.Write(backing{f.LoopbackFile}, data, off)
	return uint32(n), toErrno(err)
}

var _ = (fs.FileAllocater)((*databaseFile)(nil))

// Allocate tells capture of the space that it may add to the database.
func (f *databaseFile) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	return toErrno(f.d.Truncate(int64(off+size), func() error { return asError(f.LoopbackFile.Allocate(ctx, off, size, mode)) }))
}

var _ = (fs.FileFsyncer)((*databaseFile)(nil))

// Fsync syncs the backing file. The disk begins while capture gets ready.
func (f *databaseFile) Fsync(_ context.Context, flags uint32) syscall.Errno {
	if fd, ok := f.LoopbackFile.PassthroughFd(); ok {
		unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) // no more than a hint
	}
	f.d.SyncingDatabase()
	errno := syncFile(f.LoopbackFile, flags)
	if errno == 0 {
		f.d.SyncedDatabase(backing{f.LoopbackFile})
	}
	return errno
}

var _ = (fs.FileFlusher)((*databaseFile)(nil))

// Flush tells capture that a descriptor is closed.
func (f *databaseFile) Flush(ctx context.Context) syscall.Errno {
	f.d.Flushed()
	return f.LoopbackFile.Flush(ctx)
}

var _ = (fs.FileReleaser)((*databaseFile)(nil))

// Release tells capture that the last descriptor is closed.
func (f *databaseFile) Release(ctx context.Context) syscall.Errno {
	f.d.Released(backing{f.LoopbackFile})
	if f.mode.leave() {
		f.d.Unused()
	}
	return f.LoopbackFile.Release(ctx)
}

// askedFile is a database that the daemon has open, for its locks.
type askedFile struct {
	openFile
	mode   *ioMode
	passed bool
}

var _ = (fs.FilePassthroughFder)((*askedFile)(nil))

// PassthroughFd is that of a [databaseFile].
func (f *askedFile) PassthroughFd() (int, bool) {
	if !f.passed {
		return -1, false
	}
	return f.openFile.PassthroughFd()
}

var _ = (fs.FileReleaser)((*askedFile)(nil))

// Release has the file be opened in another way.
func (f *askedFile) Release(ctx context.Context) syscall.Errno {
	f.mode.leaveInside()
	return f.LoopbackFile.Release(ctx)
}

// companionFile is an open WAL, journal or wal-index of a primary. Its reads and
// writes come here only where the kernel does not pass them through.
type companionFile struct {
	openFile
	d    *capture.Database
	role dbfile.Role
}

var _ = (fs.FileWriter)((*companionFile)(nil))

// Write writes to the backing file and tells capture.
func (f *companionFile) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	switch f.role {
	case dbfile.RoleWAL:
		n, err := f.d.WriteWAL(backing{f.LoopbackFile}, data, off)
		return uint32(n), toErrno(err)
	case dbfile.RoleJournal:
		defer f.d.WroteJournal()
	}
	return f.LoopbackFile.Write(ctx, data, off)
}

var _ = (fs.FileReleaser)((*companionFile)(nil))

// Release tells capture that no process has the handle, or maps it, any more.
func (f *companionFile) Release(ctx context.Context) syscall.Errno {
	f.d.Closed(f.role)
	return f.LoopbackFile.Release(ctx)
}

var _ = (fs.FileFsyncer)((*companionFile)(nil))

// Fsync syncs the backing file, and has capture look at what was synced.
func (f *companionFile) Fsync(_ context.Context, flags uint32) syscall.Errno {
	errno := syncFile(f.LoopbackFile, flags)
	if errno == 0 {
		f.d.Synced(f.role)
	}
	return errno
}

// backing writes to an open backing file.
type backing struct{ f *fs.LoopbackFile }

func (b backing) WriteAt(p []byte, off int64) (int, error) {
	n, errno := b.f.Write(context.Background(), p, off)
	return int(n), asError(errno)
}

// fsyncDatasync in the flags of FUSE_FSYNC asks for fdatasync(2).
const fsyncDatasync = 1

// syncFile syncs f as the caller asked.
func syncFile(f *fs.LoopbackFile, flags uint32) syscall.Errno {
	fd, ok := f.PassthroughFd()
	if !ok {
		return syscall.EBADF
	}
	if flags&fsyncDatasync != 0 {
		return fs.ToErrno(unix.Fdatasync(fd))
	}
	return fs.ToErrno(unix.Fsync(fd))
}

// loopbackDir is what the loopback's directory handles can do.
type loopbackDir interface {
	fs.FileHandle
	fs.FileReaddirenter
	fs.FileReleasedirer
	fs.FileSeekdirer
	fs.FileFsyncdirer
}

// rootDir is an open mounted directory.
type rootDir struct {
	loopbackDir
	node *node
}

var _ = (fs.FileReaddirenter)((*rootDir)(nil))

// Readdirent leaves out what is hidden.
func (d *rootDir) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	for {
		e, errno := d.loopbackDir.Readdirent(ctx)
		if errno != 0 || e == nil || !d.node.hidden(e.Name) {
			return e, errno
		}
	}
}
