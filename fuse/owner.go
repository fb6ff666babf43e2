package fuse

import (
	"context"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// A new entry belongs to the app that makes it, as fs.LoopbackNode sees to, and is what the kernel would have made of it:
// in a directory with the set-group-ID bit it has the directory's group, and the daemon's umask is not applied to the
// mode, for the kernel has applied the app's.

// asOwner returns a context in which a new entry of n belongs to whom it is to belong.
func (n *node) asOwner(ctx context.Context) context.Context {
	caller, ok := fuse.FromContext(ctx)
	if !ok {
		return ctx
	}
	var st unix.Stat_t
	if err := unix.Fstatat(n.backingFd(), n.entry("."), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_ISGID == 0 {
		return ctx
	}
	owner := *caller
	owner.Gid = st.Gid
	return fuse.NewContext(ctx, &owner)
}

// unmask gives a new entry the permissions of mode; got is what it has.
func (n *node) unmask(name string, mode uint32, got *fuse.Attr) {
	const permissions = 0o777
	if got.Mode&permissions == mode&permissions {
		return
	}
	want := got.Mode&0o7000 | mode&permissions
	if unix.Fchmodat(n.backingFd(), n.entry(name), want, 0) == nil {
		got.Mode = got.Mode&unix.S_IFMT | want
	}
}

func (n *node) backingFd() int { return int(n.dir.backing.Fd()) }

// entry is the path of an entry of n below the backing directory.
func (n *node) entry(name string) string { return filepath.Join(n.Path(n.Root()), name) }

var _ = (fs.NodeMknoder)((*node)(nil))

// Mknod refuses the names that are hidden.
func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if n.hidden(name) {
		return nil, syscall.EPERM
	}
	inode, errno := n.LoopbackNode.Mknod(n.asOwner(ctx), name, mode, dev, out)
	if errno == 0 {
		n.unmask(name, mode, &out.Attr)
	}
	return inode, errno
}

var _ = (fs.NodeSymlinker)((*node)(nil))

// Symlink refuses the names that are hidden.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if n.hidden(name) {
		return nil, syscall.EPERM
	}
	return n.LoopbackNode.Symlink(n.asOwner(ctx), target, name, out)
}
