package crashfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// tick is the granularity of times in ns, that of a kernel with 250 timer interrupts a second.
const tick = 4e6

// Short is for [FS.Fail] to say that a write writes the first half, and that this is all it has written, as where a disk
// gets full. All else fails with EIO by it.
const Short syscall.Errno = 1 << 12

// FS is a mounted file system that records.
type FS struct {
	// Fail is asked before each operation and read, with the number of operations recorded so far, whether it shall
	// fail, and how. It is set before the first one, may be called by many goroutines at once, and must not use the mount.
	Fail func(n int, o Op) syscall.Errno

	dir    string // of the files' contents
	at     string
	start  *Image
	server *fuse.Server

	mu    sync.Mutex // guards all below; held over each operation, so that there is one order
	tree  *tree
	files map[uint64]*os.File // contents, open for as long as the file system is mounted
	ops   []Op
	late  func(path string) // nil: no answer is
	spool *os.File          // what was written, in order
	end   int64             // of the spool
	paths map[uint64]string // by inode: where it was before it was removed
}

// Mount mounts a file system at a directory. It keeps contents and record in dir, an empty directory elsewhere. It
// begins with the files of start, or with none where that is nil; start stays as it is, and must stay.
func Mount(at, dir string, start *Image, fail func(n int, o Op) syscall.Errno) (*FS, error) {
	if start == nil {
		start = &Image{tree: newTree()}
	}
	f := &FS{Fail: fail, dir: dir, at: at, start: start, tree: start.tree.clone(), files: make(map[uint64]*os.File), paths: make(map[uint64]string)}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.closeFiles())
	}
	timeout := time.Duration(0)
	opt := &fs.Options{AttrTimeout: &timeout, EntryTimeout: &timeout, NegativeTimeout: &timeout, RootStableAttr: &fs.StableAttr{Ino: rootIno}}
	opt.DirectMountStrict, opt.AllowOther, opt.FsName, opt.Name = true, true, "crashfs", "crashfs"
	opt.Options = []string{"default_permissions"}
	opt.MaxWrite = 1 << 20
	opt.ExplicitDataCacheControl = true
	opt.ExtraCapabilities = fuse.CAP_HANDLE_KILLPRIV_V2 // or the kernel asks for an attribute before each write
	opt.DisabledCapabilities = fuse.CAP_PASSTHROUGH     // or what is mounted over it may not use it: one may be stacked
	var err error
	if f.server, err = fs.Mount(at, &node{fs: f, ino: rootIno}, opt); err != nil {
		return nil, errors.Join(fmt.Errorf("mount crashfs on %s: %w", at, err), f.closeFiles())
	}
	return f, nil
}

// open copies the contents of the start, and opens all.
func (f *FS) open() (err error) {
	if f.spool, err = os.Create(filepath.Join(f.dir, "spool")); err != nil {
		return err
	}
	for ino, n := range f.tree.inodes {
		if n.isDir() {
			continue
		}
		if f.files[ino], err = f.start.copyContents(f.dir, ino); err != nil {
			return err
		}
	}
	return nil
}

// unmountTime is how long the kernel has for letting go of what ended processes, and mounts over this one, had open;
// copyTime how long mount namespaces have that were made meanwhile, and so have a copy of the mount.
const (
	unmountTime = 30 * time.Second
	copyTime    = 2 * time.Second
)

// Close unmounts the file system. The record can be read until then. What uses the mount must have ended.
func (f *FS) Close() error {
	err := f.unmount()
	for end := time.Now().Add(unmountTime); errors.Is(err, syscall.EBUSY) && time.Now().Before(end); err = f.unmount() {
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("unmount crashfs from %s: %w", f.at, err)
	}
	ended := make(chan struct{})
	go func() {
		f.server.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(copyTime):
	}
	return f.closeFiles()
}

func (f *FS) unmount() error { return unix.Unmount(f.at, unix.UMOUNT_NOFOLLOW) }

func (f *FS) closeFiles() error {
	var errs []error
	for _, file := range f.files {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	if f.spool != nil {
		errs = append(errs, f.spool.Close())
	}
	return errors.Join(errs...)
}

// Late has a function called before the kernel is told of the size of the file at a path, which may change meanwhile. It may
// be called by many goroutines at once, and must not use the mount.
func (f *FS) Late(late func(path string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late = late
}

// Len is the number of operations recorded so far.
func (f *FS) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ops)
}

// Ops returns the operations recorded so far from number from on, which the caller must not change.
func (f *FS) Ops(from int) []Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops[from:len(f.ops):len(f.ops)]
}

// do performs and records an operation, unless it shall fail.
func (f *FS) do(o Op, perform func(*Op) error) syscall.Errno {
	if errno := f.refuse(o); errno != 0 {
		return errno
	}
	return f.perform(o, perform)
}

// perform performs and records an operation.
func (f *FS) perform(o Op, perform func(*Op) error) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	o.time = time.Now().UnixNano() / tick * tick
	if perform != nil {
		if err := perform(&o); err != nil {
			return fs.ToErrno(err)
		}
	}
	f.rememberPath(o)
	f.tree.apply(o)
	f.ops = append(f.ops, o)
	return 0
}

// rememberPath keeps the path of what o removes or replaces.
func (f *FS) rememberPath(o Op) {
	switch o.Kind {
	case Unlink:
		f.paths[o.ino] = o.Path
	case Rename:
		f.paths[f.tree.inodes[o.toDir].entries[o.toName]] = o.To
	}
}

func (f *FS) lastPath(ino uint64) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.paths[ino]
}

func (f *FS) refuse(o Op) syscall.Errno {
	if f.Fail == nil {
		return 0
	}
	errno := f.Fail(f.Len(), o)
	if errno == Short && (o.Kind != Write || o.Len < 2) {
		errno = syscall.EIO
	}
	return errno
}

// write writes data to a file and to the spool.
func (f *FS) write(o *Op, data []byte) error {
	if _, err := f.files[o.ino].WriteAt(data, o.Off); err != nil {
		return err
	}
	if _, err := f.spool.WriteAt(data, f.end); err != nil {
		return err
	}
	o.data = f.end
	f.end += int64(len(data))
	return nil
}

// written reads what a recorded operation wrote.
func (f *FS) written(o Op) ([]byte, error) {
	data := make([]byte, o.Len)
	_, err := f.spool.ReadAt(data, o.data)
	return data, err
}

// create makes the inode of o, which is a Create or Mkdir.
func (f *FS) create(o *Op) (err error) {
	o.ino, o.attr.mtime = f.tree.last+1, o.time
	if o.Kind == Create {
		f.files[o.ino], err = os.Create(contents(f.dir, o.ino))
	}
	return err
}

// contents is the file with an inode's bytes.
func contents(dir string, ino uint64) string {
	return filepath.Join(dir, strconv.FormatUint(ino, 10))
}

// stat fills in an inode's attributes. They may be told late.
func (f *FS) stat(ino uint64, out *fuse.Attr) (late func(path string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.tree.inodes[ino]
	out.Ino, out.Mode, out.Size, out.Nlink, out.Blksize = ino, n.mode, uint64(n.size), 1, 4096
	out.Blocks = uint64(n.size+511) / 512
	out.Owner = fuse.Owner{Uid: n.uid, Gid: n.gid}
	mtime, ctime := time.Unix(0, n.mtime), time.Unix(0, n.ctime)
	out.SetTimes(&mtime, &mtime, &ctime)
	return f.late
}

func (f *FS) attr(ino uint64) attr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tree.inodes[ino].attr
}

// readAt reads a file. Bytes behind its end are none.
func (f *FS) readAt(ino uint64, dest []byte, off int64) (int, error) {
	f.mu.Lock()
	file := f.files[ino]
	f.mu.Unlock()
	n, err := file.ReadAt(dest, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}
