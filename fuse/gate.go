package fuse

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// gate has apps wait at the root of a file system until its databases are open
// (see the package comment).
type gate struct {
	once    sync.Once
	decided chan struct{} // closed by decide
	status  fuse.Status   // what apps get; set before decided is closed
}

func newGate() *gate { return &gate{decided: make(chan struct{})} }

// decide opens the gate, or with an error has all fail that wait and come. Only
// the first call counts.
func (g *gate) decide(status fuse.Status) {
	g.once.Do(func() {
		g.status = status
		close(g.decided)
	})
}

// closed tells whether apps wait.
func (g *gate) closed() bool {
	select {
	case <-g.decided:
		return false
	default:
		return true
	}
}

// pass waits until thread may pass. Threads of this process need not wait.
func (g *gate) pass(cancel <-chan struct{}, thread uint32) fuse.Status {
	if g.closed() && isOwn(thread) {
		return fuse.OK
	}
	select {
	case <-g.decided:
		return g.status
	case <-cancel:
		return fuse.EINTR
	}
}

// isOwn tells whether a thread is of this process. Zero is one that is not to
// be seen from here.
func isOwn(thread uint32) bool {
	return thread != 0 && unix.Tgkill(unix.Getpid(), int(thread), 0) == nil
}

// gated is a file system behind a gate. Before it looks up a name in the root,
// or opens the root, the kernel checks permissions, and asks for the root's
// attributes where it has none that are valid. No request holds a lock then. So
// that is where apps wait, and attributes that are given out before the gate
// opens are valid for no time.
type gated struct {
	fuse.RawFileSystem
	gate     *gate
	releases *barrier
}

// GetAttr is where apps wait.
func (f *gated) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.NodeId != fuse.FUSE_ROOT_ID {
		return f.RawFileSystem.GetAttr(cancel, in, out)
	}
	if status := f.gate.pass(cancel, in.Pid); !status.Ok() {
		return status
	}
	closed := f.gate.closed()
	status := f.RawFileSystem.GetAttr(cancel, in, out)
	if closed {
		out.SetTimeout(0)
	}
	return status
}

// Statx is another GetAttr.
func (f *gated) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	if in.NodeId != fuse.FUSE_ROOT_ID {
		return f.RawFileSystem.Statx(cancel, in, out)
	}
	if status := f.gate.pass(cancel, in.Pid); !status.Ok() {
		return status
	}
	closed := f.gate.closed()
	status := f.RawFileSystem.Statx(cancel, in, out)
	if closed {
		out.SetTimeout(0)
	}
	return status
}

// Release can be waited for.
func (f *gated) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	f.releases.serve(func() { f.RawFileSystem.Release(cancel, in) })
}

// SetAttr does not wait: the app holds the root's lock, which the daemon needs
// to look up names.
func (f *gated) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	closed := f.gate.closed()
	status := f.RawFileSystem.SetAttr(cancel, in, out)
	if closed && in.NodeId == fuse.FUSE_ROOT_ID {
		out.SetTimeout(0)
	}
	return status
}
