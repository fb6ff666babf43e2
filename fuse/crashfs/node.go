package crashfs

import (
	"context"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is a file or directory of the mount.
type node struct {
	fs.Inode
	fs  *FS
	ino uint64
}

var _ = (fs.NodeOnAdder)((*node)(nil))

// OnAdd makes the nodes of what the mount begins with.
func (n *node) OnAdd(ctx context.Context) {
	for name, ino := range n.fs.start.entries(n.ino) {
		n.AddChild(name, n.child(ctx, ino, n.fs.start.tree.inodes[ino].mode), false)
	}
}

func (n *node) child(ctx context.Context, ino uint64, mode uint32) *fs.Inode {
	return n.NewPersistentInode(ctx, &node{fs: n.fs, ino: ino}, fs.StableAttr{Ino: ino, Mode: mode & syscall.S_IFMT})
}

// path is where the node is, or was before it was removed.
func (n *node) path() string {
	if _, parent := n.Parent(); parent == nil && !n.IsRoot() {
		return n.fs.lastPath(n.ino)
	}
	return path.Clean(n.Path(nil))
}

// op is an operation on the node.
func (n *node) op(k Kind) Op { return Op{Kind: k, Path: n.path(), ino: n.ino} }

// named is an operation on an entry of the directory n; child is nil for a new one.
func (n *node) named(k Kind, name string, child *node) Op {
	o := Op{Kind: k, Path: path.Join(n.path(), name), dir: n.ino, name: name}
	if child != nil {
		o.ino = child.ino
	}
	return o
}

func (n *node) entry(name string) *node {
	if c := n.GetChild(name); c != nil {
		return c.Operations().(*node)
	}
	return nil
}

var _ = (fs.NodeGetattrer)((*node)(nil))

// Getattr implements [fs.NodeGetattrer].
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if late := n.fs.stat(n.ino, &out.Attr); late != nil {
		late(n.path())
	}
	return 0
}

var _ = (fs.NodeSetattrer)((*node)(nil))

// Setattr implements [fs.NodeSetattrer].
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if errno := n.truncate(int64(size)); errno != 0 {
			return errno
		}
	}
	o := n.op(Setattr)
	o.attr = n.fs.attr(n.ino)
	if set(&o.attr, in) {
		if errno := n.fs.do(o, nil); errno != 0 {
			return errno
		}
	}
	n.fs.stat(n.ino, &out.Attr)
	return 0
}

// set puts into a what in asks for, and tells whether that is anything.
func set(a *attr, in *fuse.SetAttrIn) bool {
	was := *a
	if mode, ok := in.GetMode(); ok {
		a.mode = a.mode&syscall.S_IFMT | mode&^syscall.S_IFMT
	}
	if uid, ok := in.GetUID(); ok {
		a.uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		a.gid = gid
	}
	if mtime, ok := in.GetMTime(); ok {
		a.mtime = mtime.UnixNano()
	}
	return *a != was
}

func (n *node) truncate(size int64) syscall.Errno {
	o := n.op(Truncate)
	o.Off = size
	return n.fs.do(o, func(*Op) error { return n.fs.files[n.ino].Truncate(size) })
}

var _ = (fs.NodeOpener)((*node)(nil))

// Open keeps what the kernel has cached: nothing changes but by the mount.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_TRUNC != 0 {
		if errno := n.truncate(0); errno != 0 {
			return nil, 0, errno
		}
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

var _ = (fs.NodeReader)((*node)(nil))

// Read implements [fs.NodeReader].
func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	o := n.op(Read)
	o.Off, o.Len = off, int64(len(dest))
	if errno := n.fs.refuse(o); errno != 0 {
		return nil, errno
	}
	got, err := n.fs.readAt(n.ino, dest, off)
	return fuse.ReadResultData(dest[:got]), fs.ToErrno(err)
}

var _ = (fs.NodeWriter)((*node)(nil))

// Write implements [fs.NodeWriter].
func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	o := n.op(Write)
	o.Off, o.Len = off, int64(len(data))
	errno := n.fs.refuse(o)
	if errno == Short {
		data, errno = data[:len(data)/2], 0
	}
	if errno != 0 {
		return 0, errno
	}
	o.Len = int64(len(data))
	if errno := n.fs.perform(o, func(o *Op) error { return n.fs.write(o, data) }); errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

// fsyncDatasync in the flags of FUSE_FSYNC asks for fdatasync(2).
const fsyncDatasync = 1

var _ = (fs.NodeFsyncer)((*node)(nil))

// Fsync implements [fs.NodeFsyncer], for directories too.
func (n *node) Fsync(_ context.Context, _ fs.FileHandle, flags uint32) syscall.Errno {
	switch {
	case n.IsDir():
		return n.fs.do(n.op(Fsyncdir), nil)
	case flags&fsyncDatasync != 0:
		return n.fs.do(n.op(Fdatasync), nil)
	}
	return n.fs.do(n.op(Fsync), nil)
}

var _ = (fs.NodeFlusher)((*node)(nil))

// Flush does nothing: close(2) makes nothing durable.
func (n *node) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

var _ = (fs.NodeCreater)((*node)(nil))

// Create implements [fs.NodeCreater].
func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, errno := n.make(ctx, Create, name, syscall.S_IFREG|mode&0o7777, out)
	return child, nil, fuse.FOPEN_KEEP_CACHE, errno
}

var _ = (fs.NodeMkdirer)((*node)(nil))

// Mkdir implements [fs.NodeMkdirer].
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.make(ctx, Mkdir, name, syscall.S_IFDIR|mode&0o7777, out)
}

func (n *node) make(ctx context.Context, k Kind, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	o := n.named(k, name, nil)
	o.attr.mode = mode
	if caller, ok := fuse.FromContext(ctx); ok {
		o.attr.uid, o.attr.gid = caller.Uid, caller.Gid
	}
	var ino uint64
	errno := n.fs.do(o, func(o *Op) error {
		err := n.fs.create(o)
		ino = o.ino
		return err
	})
	if errno != 0 {
		return nil, errno
	}
	n.fs.stat(ino, &out.Attr)
	return n.child(ctx, ino, mode), 0
}

var _ = (fs.NodeLinker)((*node)(nil))

// Link implements [fs.NodeLinker].
func (n *node) Link(_ context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	to := target.(*node)
	o := to.op(Link)
	o.To, o.toDir, o.toName = path.Join(n.path(), name), n.ino, name
	if errno := n.fs.do(o, nil); errno != 0 {
		return nil, errno
	}
	n.fs.stat(to.ino, &out.Attr)
	return to.EmbeddedInode(), 0
}

var _ = (fs.NodeUnlinker)((*node)(nil))

// Unlink implements [fs.NodeUnlinker].
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	child := n.entry(name)
	if child == nil {
		return syscall.ENOENT
	}
	return n.fs.do(n.named(Unlink, name, child), nil)
}

var _ = (fs.NodeRmdirer)((*node)(nil))

// Rmdir implements [fs.NodeRmdirer].
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	child := n.entry(name)
	switch {
	case child == nil:
		return syscall.ENOENT
	case len(child.Children()) > 0:
		return syscall.ENOTEMPTY
	}
	return n.fs.do(n.named(Rmdir, name, child), nil)
}

var _ = (fs.NodeRenamer)((*node)(nil))

// Rename implements [fs.NodeRenamer]. It exchanges nothing.
func (n *node) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	child, to := n.entry(name), newParent.(*node)
	switch {
	case flags&^unix.RENAME_NOREPLACE != 0:
		return syscall.EINVAL
	case child == nil:
		return syscall.ENOENT
	case flags != 0 && to.entry(newName) != nil:
		return syscall.EEXIST
	}
	o := n.named(Rename, name, child)
	o.To, o.toDir, o.toName = path.Join(to.path(), newName), to.ino, newName
	return n.fs.do(o, nil)
}

var _ = (fs.NodeStatfser)((*node)(nil))

// Statfs says how much space there is for contents.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	var st syscall.Statfs_t
	err := syscall.Statfs(n.fs.dir, &st)
	out.FromStatfsT(&st)
	return fs.ToErrno(err)
}
