package fuse

import (
	"sync"
	"sync/atomic"
)

// ioMode is how the kernel reads and writes a primary's database: it caches it and
// has every write come here, or it passes it through. It is one for all handles of
// the file, the daemon's too, and so is chosen when there is none.
type ioMode struct {
	mu      sync.Mutex   // held by who opens
	handles atomic.Int32 // all
	apps    atomic.Int32 // those that apps have
	passed  bool         // the file is passed through. Guarded by mu; changed while there are no handles.
}

// enter is for another handle of an app. Where it is the first, may says whether the
// file may be passed through. enter tells whether it is, and whether what the kernel
// caches of it may be old.
func (m *ioMode) enter(may func() bool, releases *barrier) (passed, stale bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handles.Load() == 0 {
		if pass := may(); pass != m.passed {
			releases.wait()
			m.passed, stale = pass, true
		}
	}
	m.handles.Add(1)
	m.apps.Add(1)
	return m.passed, stale
}

// leave is for a handle of an app that is released. It tells whether apps have none
// any more.
func (m *ioMode) leave() (last bool) {
	m.handles.Add(-1)
	return m.apps.Add(-1) == 0
}

// enterInside is for a handle that the daemon has in its own mount.
func (m *ioMode) enterInside() (passed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handles.Add(1)
	return m.passed
}

func (m *ioMode) leaveInside() { m.handles.Add(-1) }

// barrier waits for requests that are being served. Package fs lets go of what a
// handle was passed through by after our Release of it.
type barrier struct{ mu sync.RWMutex }

// serve runs a request.
func (b *barrier) serve(request func()) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	request()
}

// wait waits until all requests that are being served have ended. Those that come
// meanwhile wait, too.
func (b *barrier) wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
}
