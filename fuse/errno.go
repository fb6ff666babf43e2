package fuse

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
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
