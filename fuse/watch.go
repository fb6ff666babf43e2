package fuse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"weir/fuse/internal/alarm"
)

// watcher reports writes to backing files that the kernel passes through.
type watcher struct {
	fd   int      // inotify(7)
	f    *os.File // of fd; its Fd method would make it blocking, so that close could not end a read
	done sync.WaitGroup

	mu      sync.Mutex
	changed map[int32]func() // by watch descriptor. Guarded by mu.
}

func newWatcher() (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w (see /proc/sys/fs/inotify/max_user_instances)", err)
	}
	w := &watcher{fd: fd, f: os.NewFile(uintptr(fd), "inotify"), changed: make(map[int32]func())}
	w.done.Go(w.run)
	return w, nil
}

// add calls changed after each write to the file at path, until it is removed.
func (w *watcher) add(path string, changed func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wd, err := unix.InotifyAddWatch(w.fd, path, unix.IN_MODIFY)
	if err != nil {
		return fmt.Errorf("watch %s: %w", path, err)
	}
	w.changed[int32(wd)] = changed
	return nil
}

func (w *watcher) close() error {
	err := w.f.Close()
	w.done.Wait()
	return err
}

// restMin and restMax bound the pause between two looks at the events; it doubles
// as long as there are some. A writer makes several a transaction; those that come
// while nobody waits for them are one event to the kernel, and wake nobody, which
// is most of what they cost the writer.
const (
	restMin = 100 * time.Microsecond
	restMax = time.Millisecond
)

func (w *watcher) run() {
	var alarm alarm.Alarm
	defer alarm.Close()
	buf := make([]byte, 64*unix.SizeofInotifyEvent)
	for rest := restMin; ; {
		n, waited := w.read(buf)
		if n <= 0 {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			wd, mask := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
			b = b[unix.SizeofInotifyEvent+binary.NativeEndian.Uint32(b[12:]):]
			w.event(wd, mask)
		}
		if rest = min(2*rest, restMax); waited {
			rest = restMin
		}
		alarm.Sleep(rest)
	}
}

// read reads events, and tells whether it had to wait for one; n is not positive
// where the watcher is closed.
func (w *watcher) read(buf []byte) (n int, waited bool) {
	conn, err := w.f.SyscallConn()
	if err != nil {
		return 0, false
	}
	if closed := conn.Read(func(fd uintptr) bool {
		n, err = uninterrupted(func() (int, error) { return unix.Read(int(fd), buf) })
		empty := errors.Is(err, unix.EAGAIN)
		waited = waited || empty
		return !empty
	}); closed != nil {
		return 0, waited
	}
	return n, waited
}

// event calls who waits for it; all, where the kernel lost some.
func (w *watcher) event(wd int32, mask uint32) {
	w.mu.Lock()
	var calls []func()
	for at, changed := range w.changed {
		if at == wd || mask&unix.IN_Q_OVERFLOW != 0 {
			calls = append(calls, changed)
		}
	}
	if mask&unix.IN_IGNORED != 0 {
		delete(w.changed, wd)
	}
	w.mu.Unlock()
	for _, changed := range calls {
		changed()
	}
}
