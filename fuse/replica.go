package fuse

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"

	"weir/fuse/internal/apply"
	"weir/fuse/internal/dbfile"
)

// replicaMount is a replica's view of the mount that its readers use.
type replicaMount struct {
	*readerLocks
	dir *directory

	mu    sync.Mutex
	files map[string]int // what sizes are changed by: open in the private mount. Guarded by mu.
}

var _ = (apply.Mount)((*replicaMount)(nil))

// Changed has the kernel ask for the entry called name, and its size, anew.
func (m *replicaMount) Changed(name string) { m.dir.changed(name) }

// unready tells whether name is a replica that has nothing to show yet.
func (d *directory) unready(name string) bool {
	replica := d.applied(name)
	return replica != nil && !isReady(replica)
}

// conceals tells whether name is a replica that is not shown.
func (d *directory) conceals(name string) bool {
	d.mu.RLock()
	leaving := d.leaving[name]
	d.mu.RUnlock()
	return leaving || d.unready(name)
}

// isReady tells whether a replica has something to show.
func isReady(replica *apply.Database) bool {
	select {
	case <-replica.Ready():
		return true
	default:
		return false
	}
}

// Resize has the kernel change the size, so that it distrusts what it is told of the file meanwhile, or was before. It has
// the file for as long as the mount is there, for of a file that it has to look up it knows no more than the answer.
func (m *replicaMount) Resize(name string, size int64) error {
	if m.dir.unready(name) {
		return m.dir.resizeHidden(name, size)
	}
	fd, err := m.inMount(name)
	if err != nil {
		return err
	}
	_, err = uninterrupted(func() (int, error) { return 0, setSize(fd, size) })
	return err
}

// openFiles opens what there is of the replica called name, so that nothing has to be looked up when its mount ends.
func (m *replicaMount) openFiles(name string) error {
	if _, err := m.inMount(name + dbfile.SuffixWAL); err != nil || m.dir.unready(name) {
		return err
	}
	_, err := m.inMount(name)
	return err
}

// inMount opens a file in the private mount, unless it is open there.
func (m *replicaMount) inMount(name string) (fd int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fd, ok := m.files[name]
	if ok {
		return fd, nil
	}
	fd, err = uninterrupted(func() (int, error) { return m.dir.sb.open(name, unix.O_RDWR) })
	if err == nil {
		m.files[name] = fd
	}
	return fd, err
}

// setSize makes a file grow by fallocate(2): with ftruncate(2) the kernel drops all that it has cached of it.
func setSize(fd int, size int64) error {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_SIZE, &st); err != nil {
		return err
	}
	if size > int64(st.Size) {
		return unix.Fallocate(fd, 0, 0, size)
	}
	return unix.Ftruncate(fd, size)
}

// resizeHidden changes the size of a file that nobody has seen in the mount.
func (d *directory) resizeHidden(name string, size int64) error {
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// Close closes what is open in the private mount.
func (m *replicaMount) Close() error {
	errs := []error{m.readerLocks.Close()}
	for _, fd := range m.files {
		errs = append(errs, unix.Close(fd))
	}
	return errors.Join(errs...)
}

// storeMax is how many bytes of a write are stored into the cache; what is
// before them is dropped from it.
const storeMax = 128 << 10

// Wrote has the kernel's cache of a file follow a write. Its end at least is
// stored: that is what readers want next.
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
	return m.dir.inode(name)
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
