package fuse

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
)

// node is a file or directory of a mounted directory.
type node struct {
	fs.LoopbackNode
	dir *directory

	renamed atomic.Pointer[renamed] // in a directory whose databases come and go
	writers atomic.Int32            // its handles to write by, there
	io      ioMode                  // of a primary's database
}

var _ = (fs.NodeWrapChilder)((*node)(nil))

// WrapChild makes a node of ours of each that the loopback makes.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	if _, ok := child.(*virtual); ok {
		return child
	}
	return n.dir.newNode(n.RootData)
}

// captured returns the captured database that the entry called name in n
// belongs to, and the entry's role in it; nil for all other entries.
func (n *node) captured(name string) (*capture.Database, dbfile.Role) {
	if !n.IsRoot() && !n.dir.recursive() {
		return nil, dbfile.RoleOther
	}
	at, _ := n.at(name)
	db, role := roleOf(at)
	return n.dir.captured(db), role
}

// self is captured for n's own entry.
func (n *node) self() (*capture.Database, dbfile.Role) {
	name, parent := n.Parent()
	if parent == nil || !parent.IsRoot() && !n.dir.recursive() {
		return nil, dbfile.RoleOther
	}
	return parent.Operations().(*node).captured(name)
}

// database is the captured database that n's file is, nil where it is none.
func (n *node) database() *capture.Database {
	name, ok := n.name()
	if !ok {
		return nil
	}
	return n.dir.captured(name)
}

// mayJoin tells whether an app opens n's file as one that may be, or become, a database.
func (n *node) mayJoin() bool {
	name, _ := n.Parent()
	_, role := dbfile.RoleOf(name)
	return n.dir.follows() && role == dbfile.RoleDatabase
}

// hidden tells whether an entry is weir's own, or a replica that has nothing to
// show yet.
func (n *node) hidden(name string) bool {
	if n.IsRoot() {
		return name == state.Dir || n.dir.conceals(name)
	}
	if !n.dir.recursive() {
		return false
	}
	at, ok := n.at(name)
	return ok && n.dir.conceals(at)
}

var _ = (fs.NodeLookuper)((*node)(nil))

// Lookup hides what is hidden.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if n.hidden(name) {
		return nil, syscall.ENOENT
	}
	child, errno := n.LoopbackNode.Lookup(ctx, name, out)
	if errno == syscall.ENOENT {
		return n.lookupVirtual(ctx, name, out)
	}
	return child, errno
}

var _ = (fs.NodeMkdirer)((*node)(nil))

// Mkdir refuses the name of weir's own directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if n.hidden(name) {
		return nil, syscall.EPERM
	}
	inode, errno := n.LoopbackNode.Mkdir(n.asOwner(ctx), name, mode, out)
	if errno == 0 {
		n.unmask(name, mode, &out.Attr)
	}
	return inode, errno
}

var _ = (fs.NodeRmdirer)((*node)(nil))

// Rmdir refuses the name of weir's own directory.
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if n.hidden(name) {
		return syscall.ENOENT
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

var _ = (fs.NodeOpendirHandler)((*node)(nil))

// OpendirHandle hides what is hidden.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, fuseFlags, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno == 0 && (n.IsRoot() || n.dir.recursive()) {
		fh = &rootDir{fh.(loopbackDir), n}
	}
	return fh, fuseFlags, errno
}

var _ = (fs.NodeOpener)((*node)(nil))

// Open opens the backing file. The daemon itself asks for locks only.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if n.dir.inside.asks(ctx) {
		return n.openToAsk(ctx, flags)
	}
	fh, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	if n.mayJoin() && !n.dir.sb.gate.closed() {
		if n.database() == nil {
			n.joinIdle()
		}
		return n.openedMember(fh.(*fs.LoopbackFile), flags)
	}
	d, role := n.self()
	return n.dir.opened(fh.(*fs.LoopbackFile), d, role, &n.io, flags)
}

// openToAsk opens a file for a question about its locks: no app has it open by that. It is opened as apps do, or the kernel
// refuses to open it in two ways at a time.
func (n *node) openToAsk(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	const how = fuse.FOPEN_NOFLUSH | fuse.FOPEN_KEEP_CACHE
	fh, _, errno := n.LoopbackNode.Open(ctx, flags)
	name, _ := n.Parent()
	if _, role := dbfile.RoleOf(name); role == dbfile.RoleSHM || errno != 0 {
		return fh, how, errno
	}
	return &askedFile{openFile{fh.(*fs.LoopbackFile)}, &n.io, n.io.enterInside()}, how, 0
}

var _ = (fs.NodeCreater)((*node)(nil))

// Create creates and opens the backing file.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if n.hidden(name) {
		return nil, nil, 0, syscall.EPERM
	}
	inode, fh, _, errno := n.LoopbackNode.Create(n.asOwner(ctx), name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	n.unmask(name, mode, &out.Attr)
	if _, role := dbfile.RoleOf(name); n.dir.follows() && role == dbfile.RoleDatabase {
		fh, fuseFlags, errno := n.createdMember(name, inode, fh.(*fs.LoopbackFile), flags)
		return inode, fh, fuseFlags, errno
	}
	d, role := n.captured(name)
	fh, fuseFlags, errno := n.dir.opened(fh.(*fs.LoopbackFile), d, role, &inode.Operations().(*node).io, flags)
	return inode, fh, fuseFlags, errno
}

var _ = (fs.NodeSetattrer)((*node)(nil))

// Setattr passes a change of size to capture. The kernel changes nothing else meanwhile, so what it is answered lasts.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if !n.dir.readOnly {
		out.SetTimeout(forever)
	}
	op := func() error { return asError(n.LoopbackNode.Setattr(ctx, f, in, out)) }
	size, resize := in.GetSize()
	if resize && n.mayJoin() {
		return toErrno(n.setSize(int64(size), op))
	}
	d, role := n.self()
	switch {
	case d == nil || !resize:
		return toErrno(op())
	case role == dbfile.RoleDatabase:
		return toErrno(d.Truncate(int64(size), op))
	}
	return toErrno(d.Resize(role, int64(size), op))
}

var _ = (fs.NodeCopyFileRanger)((*node)(nil))

// CopyFileRange copies between files that are nobody's. With others the kernel
// reads and writes by itself.
func (n *node) CopyFileRange(ctx context.Context, in fs.FileHandle, offIn uint64, out *fs.Inode, to fs.FileHandle, offOut, size, flags uint64) (uint32, syscall.Errno) {
	from, ok := in.(openFile)
	into, also := to.(openFile)
	if !ok || !also {
		return 0, syscall.EOPNOTSUPP
	}
	return n.LoopbackNode.CopyFileRange(ctx, from.LoopbackFile, offIn, out, into.LoopbackFile, offOut, size, flags)
}

var _ = (fs.NodeUnlinker)((*node)(nil))

// Unlink passes the removal of a database's files to capture.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if n.hidden(name) {
		return syscall.ENOENT
	}
	d, role := n.captured(name)
	op := func() error { return asError(n.LoopbackNode.Unlink(ctx, name)) }
	if at, ok := n.at(name); ok && n.dir.comesAndGoes(at) {
		defer n.dir.note(at)
		return toErrno(d.Gone(op))
	}
	return toErrno(remove(d, role, op))
}

var _ = (fs.NodeRenamer)((*node)(nil))

// Rename passes both what it takes away and what it replaces to capture.
func (n *node) Rename(ctx context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*node)
	if !ok || n.hidden(name) || to.hidden(newName) {
		return syscall.EPERM
	}
	op := func() error { return asError(n.LoopbackNode.Rename(ctx, name, newParent, newName, flags)) }
	if n.dir.follows() {
		return toErrno(n.renameMembers(name, to, newName, flags, op))
	}
	d, role := n.captured(name)
	toD, toRole := to.captured(newName)
	if d == toD {
		return toErrno(remove(d, min(role, toRole), op))
	}
	return toErrno(remove(d, role, func() error { return remove(toD, toRole, op) }))
}

// remove runs op, which takes away or replaces a file of d.
func remove(d *capture.Database, role dbfile.Role, op func() error) error {
	switch {
	case d == nil:
		return op()
	case role == dbfile.RoleDatabase:
		return d.Replaced(op)
	}
	return d.Remove(role, op)
}
