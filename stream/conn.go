package stream

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// deadlineWriter writes a response so that a peer that takes nothing for
// timeout is given up, and the server can end it at any time.
type deadlineWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration

	mu      sync.Mutex // guards all below, and the setting of deadlines
	written bool
	ended   bool
}

func (d *deadlineWriter) Write(p []byte) (int, error) {
	if err := d.extend(); err != nil {
		return 0, err
	}
	return d.w.Write(p)
}

func (d *deadlineWriter) flush() error {
	if err := d.extend(); err != nil {
		return err
	}
	return d.rc.Flush()
}

func (d *deadlineWriter) extend() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return ErrClosed
	}
	d.written = true
	d.rc.SetWriteDeadline(time.Now().Add(d.timeout)) // a writer that cannot has none
	return nil
}

// minRate is the slowest that a request's body may come, in bytes a second.
const minRate = 1 << 10

// reader reads the request's body, within timeout and the time that minRate gives what has come. So a client that
// sends a byte now and then is not waited for.
func (d *deadlineWriter) reader(body io.Reader) io.Reader {
	began, came := time.Now(), 0
	return readerFunc(func(p []byte) (int, error) {
		due := d.timeout + time.Duration(came)*time.Second/minRate - time.Since(began)
		if err := d.extendRead(max(due, 1)); err != nil {
			return 0, err
		}
		n, err := body.Read(p)
		came += n
		return n, err
	})
}

// extendRead gives reads of the request until timeout from now, 0 for ever.
func (d *deadlineWriter) extendRead(timeout time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return ErrClosed
	}
	var at time.Time
	if timeout > 0 {
		at = time.Now().Add(timeout)
	}
	d.rc.SetReadDeadline(at)
	return nil
}

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// begun tells whether anything was written.
func (d *deadlineWriter) begun() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

// end makes writes fail from now on; with cut also the one in progress, and
// reads of the request.
func (d *deadlineWriter) end(cut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.ended = true
	if cut {
		now := time.Now()
		d.rc.SetWriteDeadline(now)
		d.rc.SetReadDeadline(now)
	}
}
