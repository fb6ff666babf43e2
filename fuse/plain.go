package fuse

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// ServePlain mounts go-fuse's loopback file system over the directory at path until ctx ends, as a primary's directory is
// mounted: but nothing is captured, and where the kernel can, it reads and writes every file by itself. What applications
// lose there is what FUSE takes, whatever is done with it.
func ServePlain(ctx context.Context, path string, passthrough bool) error {
	below, err := os.Open(path)
	if err != nil {
		return err
	}
	defer below.Close()
	root, err := newPlainRoot(fmt.Sprintf("/proc/self/fd/%d/.", below.Fd()))
	if err != nil {
		return err
	}
	of, err := newMount()
	if err != nil {
		return err
	}
	sb, err := newSuperblock(of, root, new(barrier), forever, passthrough, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	sb.gate.decide(fuse.OK)
	if err = sb.attach(path, false, 0); err == nil {
		<-ctx.Done()
		err = detach(path)
	}
	sb.release()
	sb.wait(after(closeTimeout))
	return err
}

// plainNode is a loopback's node of which the kernel remembers as much as of ours.
type plainNode struct{ fs.LoopbackNode }

func newPlainRoot(path string) (*plainNode, error) {
	loopback, err := fs.NewLoopbackRoot(path)
	if err != nil {
		return nil, err
	}
	data := loopback.(*fs.LoopbackNode).RootData
	root := &plainNode{fs.LoopbackNode{RootData: data}}
	data.RootNode = root
	return root, nil
}

var _ = (fs.NodeWrapChilder)((*plainNode)(nil))

// WrapChild makes a node of ours of each that the loopback makes.
func (n *plainNode) WrapChild(context.Context, fs.InodeEmbedder) fs.InodeEmbedder {
	return &plainNode{fs.LoopbackNode{RootData: n.RootData}}
}

// plainFlags are what open files are answered: nothing is asked of a close.
const plainFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH

var _ = (fs.NodeOpener)((*plainNode)(nil))

// Open opens the backing file.
func (n *plainNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	fh, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return plainFile{openFile{fh.(*fs.LoopbackFile)}}, plainFlags, 0
}

var _ = (fs.NodeCreater)((*plainNode)(nil))

// Create creates and opens the backing file.
func (n *plainNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode, fh, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return inode, plainFile{openFile{fh.(*fs.LoopbackFile)}}, plainFlags, 0
}

var _ = (fs.NodeSetattrer)((*plainNode)(nil))

// Setattr says that what it is answered lasts.
func (n *plainNode) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	out.SetTimeout(forever)
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

// plainFile is an open backing file.
type plainFile struct{ openFile }

var _ = (fs.FileFsyncer)(plainFile{})

// Fsync syncs the backing file as it was asked to, which the loopback does in full.
func (f plainFile) Fsync(_ context.Context, flags uint32) syscall.Errno {
	return syncFile(f.LoopbackFile, flags)
}
