package fuse

import (
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// handles are the files and directories that apps have open in a file system. While they are held no more are opened: apps
// wait. So its mount can be taken away when there are none, though the daemon has files of it open, for which the kernel
// would call it busy.
type handles struct {
	mu   sync.Mutex
	open int            // those of apps, and of apps that are being answered. Guarded by mu.
	own  map[uint64]int // how many of the daemon's have a number. Guarded by mu.
	held chan struct{}  // closed when apps need not wait any more; nil while they need not. Guarded by mu.
	gone bool           // the mount is. Guarded by mu.
}

func newHandles() *handles { return &handles{own: make(map[uint64]int)} }

// hold has apps wait, unless they have something open.
func (h *handles) hold() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open > 0 {
		return false
	}
	h.held = make(chan struct{})
	return true
}

// release lets them go on. Where the mount is gone they look for what is in its place.
func (h *handles) release(gone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = gone
	close(h.held)
	h.held = nil
}

// enter counts a handle that an app is about to get.
func (h *handles) enter(cancel <-chan struct{}) fuse.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.held != nil {
		if !h.await(h.held, cancel) {
			return fuse.EINTR
		}
	}
	if h.gone {
		return lookAgain
	}
	h.open++
	return fuse.OK
}

// await waits for the end of held, without the lock; false where the app does not wait any more.
func (h *handles) await(held, cancel <-chan struct{}) bool {
	h.mu.Unlock()
	defer h.mu.Lock()
	select {
	case <-held:
		return true
	case <-cancel:
		return false
	}
}

// leave counts that an app has one less.
func (h *handles) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open--
}

// lend notes a handle of the daemon's.
func (h *handles) lend(number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.own[number]++
}

// giveBack tells whether a handle is the daemon's, which it is no more then.
func (h *handles) giveBack(number uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.own[number]
	if h.own[number]--; n <= 1 {
		delete(h.own, number)
	}
	return n > 0
}

// counted is a file system that knows its handles.
type counted struct {
	fuse.RawFileSystem
	handles *handles
}

// Open counts.
func (f *counted) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.opening(cancel, in.Pid, &out.Fh, func() fuse.Status { return f.RawFileSystem.Open(cancel, in, out) })
}

// OpenDir counts.
func (f *counted) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	return f.opening(cancel, in.Pid, &out.Fh, func() fuse.Status { return f.RawFileSystem.OpenDir(cancel, in, out) })
}

// Create counts.
func (f *counted) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return f.opening(cancel, in.Pid, &out.Fh, func() fuse.Status { return f.RawFileSystem.Create(cancel, in, name, out) })
}

// opening runs open for a thread, and counts the handle that it makes.
func (f *counted) opening(cancel <-chan struct{}, thread uint32, handle *uint64, open func() fuse.Status) fuse.Status {
	if isOwn(thread) {
		status := open()
		if status.Ok() {
			f.handles.lend(*handle)
		}
		return status
	}
	if status := f.handles.enter(cancel); !status.Ok() {
		return status
	}
	status := open()
	if !status.Ok() {
		f.handles.leave()
	}
	return status
}

// Release counts.
func (f *counted) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	if !f.handles.giveBack(in.Fh) { // before the number is another's
		defer f.handles.leave()
	}
	f.RawFileSystem.Release(cancel, in)
}

// ReleaseDir counts.
func (f *counted) ReleaseDir(in *fuse.ReleaseIn) {
	if !f.handles.giveBack(in.Fh) {
		defer f.handles.leave()
	}
	f.RawFileSystem.ReleaseDir(in)
}
