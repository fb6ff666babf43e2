package stream

import (
	"io"
	"sync"
)

const (
	// aheadIdle is how much a follower has room for while it has all that came.
	aheadIdle = 8 << 10

	// aheadMost is how much of a stream is read ahead: what comes while a backlog of that much is written.
	aheadMost = 256 << 10
)

// aheadRooms are for those who are behind.
var aheadRooms = sync.Pool{New: func() any { return new([aheadMost]byte) }}

// ahead reads a stream on while what came of it is worked on. So who takes a record knows whether the next one is there
// as a whole.
type ahead struct {
	r       io.Reader
	reading sync.WaitGroup

	mu      sync.Mutex // guards all below
	changed sync.Cond
	small   [aheadIdle]byte
	large   *[aheadMost]byte // nil while small is enough
	from, n int              // of the room: what came and was not taken, as a ring
	err     error            // that ended the reading
	closed  bool
}

// readAhead reads r from now on, until it ends or Close is called.
func readAhead(r io.Reader) *ahead {
	a := &ahead{r: r}
	a.changed.L = &a.mu
	a.reading.Go(a.run)
	return a
}

func (a *ahead) run() {
	part := make([]byte, watched)
	for {
		n, err := a.r.Read(part)
		if !a.put(part[:n], err) {
			return
		}
	}
}

// put adds what was read, as soon as there is room. It returns whether more is wanted.
func (a *ahead) put(b []byte, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.n+len(b) > aheadMost && !a.closed {
		a.changed.Wait()
	}
	if a.closed {
		return false
	}
	if a.n+len(b) > len(a.room()) {
		a.widen()
	}
	room := a.room()
	at := (a.from + a.n) % len(room)
	copy(room, b[copy(room[at:], b):])
	a.n += len(b)
	a.err = err
	a.changed.Signal()
	return err == nil
}

func (a *ahead) room() []byte {
	if a.large != nil {
		return a.large[:]
	}
	return a.small[:]
}

// widen takes a large room.
func (a *ahead) widen() {
	large := aheadRooms.Get().(*[aheadMost]byte)
	a.copyOut(large[:a.n])
	a.large, a.from = large, 0
}

// copyOut copies what comes first.
func (a *ahead) copyOut(b []byte) {
	room := a.room()
	copy(b[copy(b, room[a.from:]):], room)
}

// Read takes what came, and waits for some.
func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.n == 0 {
		if a.err != nil {
			return 0, a.err
		}
		a.changed.Wait()
	}
	n := min(len(p), a.n)
	a.copyOut(p[:n])
	a.n -= n
	a.from = (a.from + n) % len(a.room())
	if a.n == 0 {
		a.narrow()
	}
	a.changed.Signal()
	return n, nil
}

// narrow gives the large room back.
func (a *ahead) narrow() {
	if a.large != nil {
		aheadRooms.Put(a.large)
	}
	a.large, a.from = nil, 0
}

// peek copies what comes first into b, if so much is there.
func (a *ahead) peek(b []byte) bool {
	if !a.has(int64(len(b))) {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.copyOut(b)
	return true
}

// has tells whether n bytes are there.
func (a *ahead) has(n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.n) >= n
}

// Close waits for the end of a read, which the caller has brought about.
func (a *ahead) Close() {
	a.mu.Lock()
	a.closed = true
	a.changed.Broadcast()
	a.mu.Unlock()
	a.reading.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.narrow()
}
