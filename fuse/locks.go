package fuse

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"weir/fuse/internal/apply"
	"weir/fuse/internal/dbfile"
)

// readerLocks are the locks that readers of a replica take on its wal-index,
// on the mount's own inode (see the package comment). They are open file
// description locks, which conflict with SQLite's.
type readerLocks struct{ fd int }

var _ = (apply.Locks)((*readerLocks)(nil))

// hold takes the two locks that the daemon keeps.
func (l *readerLocks) hold() error {
	if _, err := l.set(unix.F_RDLCK, dbfile.DMSLock); err != nil {
		return err
	}
	ok, err := l.set(unix.F_WRLCK, dbfile.WriteLock)
	if err == nil && !ok {
		err = errors.New("held by another process")
	}
	return err
}

// TryLock takes a lock exclusively; false where a reader has it.
func (l *readerLocks) TryLock(at int64) (bool, error) { return l.set(unix.F_WRLCK, at) }

// Unlock gives a lock back.
func (l *readerLocks) Unlock(at int64) error {
	_, err := l.set(unix.F_UNLCK, at)
	return err
}

func (l *readerLocks) set(kind int16, at int64) (bool, error) {
	err := unix.FcntlFlock(uintptr(l.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock byte %d of the wal-index: %w", at, err)
	}
	return true, nil
}

// Close gives all locks back.
func (l *readerLocks) Close() error { return unix.Close(l.fd) }
