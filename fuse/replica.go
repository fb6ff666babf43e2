package fuse

import (
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
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

// unready tells whether name is a replica that has nothing to show yet.
func (d *directory) unready(name string) bool {
	replica := d.applied(name)
	if replica == nil {
		return false
	}
	select {
	case <-replica.Ready():
		return false
	default:
		return true
	}
}

// storeMax is how many bytes of a write are stored into the cache; what is
// before them is dropped from it.
const storeMax = 128 << 10

// Wrote has the kernel's cache of a file follow a write. Its end at least is
// stored: that is what readers want next, and tells the kernel the file's size.
// An invalidation would have it ask for that, but it distrusts an answer that
// another invalidation overtakes.
func (m *replicaMount) Wrote(name string, off, n int64) error {
	child := m.cached(name)
	if child == nil {
		return nil
	}
	end := make([]byte, min(n, storeMax))
	if n -= int64(len(end)); n > 0 {
		if err := drop(child, off, n); err != nil {
			return err
		}
	}
	if err := m.dir.readAt(name, end, off+n); err != nil {
		return err
	}
	return store(child, off+n, end)
}

// Store writes b into what the kernel has cached of a file, so that a mapping
// shows it.
func (m *replicaMount) Store(name string, off int64, b []byte) error {
	if child := m.cached(name); child != nil {
		return store(child, off, b)
	}
	return nil
}

// cached is the file called name, nil where the kernel has nothing of it in its
// cache.
func (m *replicaMount) cached(name string) *fs.Inode {
	if m.dir.passthrough {
		return nil
	}
	return m.dir.node.GetChild(name)
}

// store falls back to drop: then a reader asks for b.
func store(file *fs.Inode, off int64, b []byte) error {
	if taken(file.WriteCache(off, b)) {
		return nil
	}
	return drop(file, off, int64(len(b)))
}

func drop(file *fs.Inode, off, n int64) error {
	if errno := file.NotifyContent(off, n); !taken(errno) {
		return fmt.Errorf("drop %d bytes at %d from the cache: %w", n, off, errno)
	}
	return nil
}

// taken tells whether a notification was taken, or was for an inode that the
// kernel has no page of.
func taken(errno syscall.Errno) bool { return errno == 0 || errno == unix.ENOENT }
