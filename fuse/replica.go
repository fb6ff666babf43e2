package fuse

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"weir/fuse/internal/apply"
)

// replicaMount is a replica's view of the mount that its readers use.
type replicaMount struct {
	*readerLocks
	dir *directory
}

var _ = (apply.Mount)((*replicaMount)(nil))

// Changed has the kernel ask for the entry called name, and its size, anew.
func (m *replicaMount) Changed(name string) { m.dir.changed(name) }

// Wrote drops what the kernel has cached of a part of a file. What is passed
// through is not cached.
func (m *replicaMount) Wrote(name string, off, n int64) error {
	child := m.dir.node.GetChild(name)
	if m.dir.passthrough || child == nil {
		return nil
	}
	if errno := child.NotifyContent(off, n); !taken(errno) {
		return fmt.Errorf("drop %d bytes at %d from the cache: %w", n, off, errno)
	}
	return nil
}

// Store writes b into what the kernel has cached of a file, so that a mapping
// shows it. If that cannot be done, the cached pages are dropped.
func (m *replicaMount) Store(name string, off int64, b []byte) error {
	child := m.dir.node.GetChild(name)
	if m.dir.passthrough || child == nil {
		return nil
	}
	if taken(child.WriteCache(off, b)) {
		return nil
	}
	return m.Wrote(name, off, int64(len(b)))
}

// taken tells whether a notification was taken, or was for an inode that the
// kernel has no page of.
func taken(errno syscall.Errno) bool { return errno == 0 || errno == unix.ENOENT }
