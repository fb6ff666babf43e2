package fuse

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
)

// writerLock tells whether an app writes a database of a primary: SQLite locks
// it then, on the mount's own inode (see the package comment).
type writerLock struct {
	inside *inside
	name   string // of the database in the directory

	// file is the database as it is in the mount, nil where none is open.
	file atomic.Pointer[os.File]
	// files counts the files that were called name.
	files atomic.Int64
	ended atomic.Bool
}

var _ = (capture.Locks)((*writerLock)(nil))

// Writing asks for a lock that readers do not hold. Where the mount has ended
// nobody knows, and a writer may be there.
func (l *writerLock) Writing() (held bool, err error) {
	f := l.file.Load()
	if f == nil || l.ended.Load() {
		return l.ended.Load(), nil
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	ask := &unix.Flock_t{Type: unix.F_RDLCK, Start: dbfile.PendingByte, Len: dbfile.SharedFirst + dbfile.SharedSize - dbfile.PendingByte}
	if closed := conn.Control(func(fd uintptr) { err = unix.FcntlFlock(fd, unix.F_OFD_GETLK, ask) }); err == nil {
		err = closed
	}
	return err == nil && ask.Type != unix.F_UNLCK, err
}

// Follow opens the database, unless that is done.
func (l *writerLock) Follow() error {
	for l.file.Load() == nil && !l.ended.Load() {
		files := l.files.Load()
		f, err := l.inside.open(l.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was removed; who has it open still writes to it
		}
		if err != nil {
			return err
		}
		if !l.file.CompareAndSwap(nil, f) {
			return f.Close()
		}
		if l.files.Load() != files { // f may be the one before
			l.drop()
		}
	}
	return nil
}

// Leave closes the file.
func (l *writerLock) Leave() {
	l.files.Add(1)
	l.drop()
}

func (l *writerLock) drop() {
	if f := l.file.Swap(nil); f != nil {
		f.Close()
	}
}

// Close ends the questions.
func (l *writerLock) Close() error {
	l.ended.Store(true)
	l.Leave()
	return nil
}

// inside is how the daemon opens files in a mount of its own.
type inside struct {
	// thread is the one that opens a file, 0 while none does.
	thread atomic.Int32

	mu sync.Mutex
	// private is the private mount, nil before there is one and after its end.
	// Guarded by mu.
	private *superblock
}

// open opens a file for reading.
func (i *inside) open(name string) (*os.File, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.private == nil {
		return nil, os.ErrClosed
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	i.thread.Store(int32(unix.Gettid()))
	defer i.thread.Store(0)
	fd, err := i.private.open(name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// asks tells whether a request to open a file is made by open.
func (i *inside) asks(ctx context.Context) bool {
	caller, ok := fuse.FromContext(ctx)
	return ok && caller.Pid != 0 && int32(caller.Pid) == i.thread.Load()
}

// through has files be opened in s, by nil in none.
func (i *inside) through(s *superblock) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.private = s
}
