package fuse

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// toErrno chooses what the kernel tells an app: the errno in err's chain, and
// EIO for what has none, which SQLite reports as a disk I/O error.
func toErrno(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	}
	return syscall.EIO
}

// asError is the way back: a failed errno as an error, success as nil.
func asError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// What apps get of a mount itself: on a replica's, to what changes something; and, when it has just been taken away, what
// has the kernel look at the path again, where something else is now.
const (
	readOnly  = fuse.Status(syscall.EROFS)
	lookAgain = fuse.Status(syscall.ESTALE)
)
