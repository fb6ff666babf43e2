package fusetest

import (
	"errors"
	"fmt"
	"time"

	"weir/stream"
)

// ErrLate says that what was awaited did not come in time.
var ErrLate = errors.New("it did not come in time")

// Await waits until done returns nil, asking after each change of the recorder. What it last returned becomes the cause
// of an [ErrLate]. A stream that was wrong before ends the waiting.
func (r *Recorder) Await(timeout time.Duration, done func() error) error {
	for deadline := time.After(timeout); ; {
		r.mu.Lock()
		err, changed := r.err, r.changed
		r.mu.Unlock()
		if err != nil {
			return err
		}
		if err = done(); err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-deadline:
			return fmt.Errorf("%w (%v): %w", ErrLate, timeout, err)
		}
	}
}

// awaitConnected waits until the stream has begun, so that from then on every transaction is seen.
func (r *Recorder) awaitConnected(timeout time.Duration) error {
	return r.Await(timeout, func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.connected {
			return errors.New("not connected")
		}
		return nil
	})
}

// State returns the position and the checksums of its pages.
func (r *Recorder) State() (stream.Pos, *stream.Sums) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pos, r.sums.Clone()
}

// Seen is [Recorder.State] with the checksum of page 1 as [Versionless].
func (r *Recorder) Seen() (stream.Pos, *stream.Sums) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sums := r.sums.Clone()
	if sums.Len() > 0 {
		sums.Set(1, r.page1)
	}
	return r.pos, sums
}

// Page returns a page as the stream has it, where pages are kept. It must not be changed.
func (r *Recorder) Page(pgno uint32) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pages[pgno]
}

// Since returns the positions after a TXID that the stream has led to, in order.
func (r *Recorder) Since(txid stream.TXID) (passed []stream.Pos) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := len(r.history)
	for i > 0 && r.history[i-1].TXID > txid {
		i--
	}
	return append(passed, r.history[i:]...)
}

// Breaks returns how often the stream has broken off, so that a delta or snapshot followed: where the page size stayed,
// and where it changed.
func (r *Recorder) Breaks() (deltas, resizes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.deltas, r.resizes
}
