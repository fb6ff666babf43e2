package capture

import (
	"runtime"
	"sync"
	"time"

	"weir/fuse/internal/alarm"
)

// looker captures what the app commits without passing the daemon: a WAL's
// writer publishes frames in shared memory, which signals nobody. A signal
// (the frames' own write, or their sync) comes a little earlier, so after one
// the looker looks until it finds something.
//
// A journal's end is seen as it happens, but for a header that is zeroed in
// place without a sync (journal_mode=PERSIST, synchronous=OFF), and so is not the
// end of a transaction that is neither journaled nor synced. So after a write to
// the database the looker looks now and then until the pages are committed.
type looker struct {
	d     *Database
	wal   chan struct{} // of capacity 1: the WAL was written
	dirty chan struct{} // of capacity 1: pages of the database were written

	journaled chan struct{} // of capacity 1: that was done under a journal

	quit  chan struct{}
	done  sync.WaitGroup
	alarm alarm.Alarm // of the goroutine
}

const (
	// spinFor is how long after a signal the looker looks without sleeping: a
	// writer publishes within microseconds.
	spinFor = 40 * time.Microsecond
	// lookMin and lookMax bound the sleep between two looks; it doubles.
	lookMin = 50 * time.Microsecond
	lookMax = 100 * time.Millisecond
	// lookFor is how long it goes on; what is later than that is found by the
	// look that there is every lookIdle.
	lookFor  = 2 * time.Second
	lookIdle = time.Second
	// restMin and restMax bound the rest after a look that each write asks for.
	restMin = 100 * time.Microsecond
	restMax = time.Millisecond
	// lookDirty is the sleep after a write to the database.
	lookDirty = time.Millisecond
	// lookRestMax bounds the rest before looks for a journal's end that is not seen
	// as it happens, as long as there is none.
	lookRestMax = 32 * time.Millisecond
)

func startLooker(d *Database) *looker {
	l := &looker{d: d, wal: make(chan struct{}, 1), dirty: make(chan struct{}, 1), journaled: make(chan struct{}, 1), quit: make(chan struct{})}
	l.done.Go(l.run)
	return l
}

func (l *looker) stop() {
	close(l.quit)
	l.done.Wait()
}

// Look says that the WAL was written or synced. It returns at once.
func (d *Database) Look() { signal(d.look.wal) }

// Capture captures what is committed when it is called.
func (d *Database) Capture() { d.lookNow() }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (l *looker) run() {
	idle := time.NewTicker(lookIdle)
	defer idle.Stop()
	defer l.alarm.Close()
	journaled, later, pause := l.journaled, (<-chan time.Time)(nil), lookDirty
	for rest := restMin; ; {
		select {
		case <-journaled:
			journaled, later = nil, time.After(pause)
		case <-later:
			journaled, later = l.journaled, nil
			if pause = l.lookForEnd(pause); l.d.pending() {
				journaled, later = nil, time.After(pause)
			}
		case <-idle.C:
			l.d.lookNow()
		case <-l.wal:
			if l.d.intercepted {
				rest = l.lookAndRest(rest)
			} else {
				l.lookUntilFound()
			}
		case <-l.dirty:
			l.lookUntilClean()
		case <-l.quit:
			return
		}
	}
}

// lookAndRest looks where every write of the WAL is a signal, the commit frame's
// too, so that one look is enough. Signals that come during the rest after it wake
// nobody; as long as there are some, the rest becomes longer.
func (l *looker) lookAndRest(rest time.Duration) (next time.Duration) {
	l.d.lookNow()
	l.alarm.Sleep(rest)
	if len(l.wal) == 0 {
		return restMin
	}
	return min(2*rest, restMax)
}

func (l *looker) lookUntilFound() {
	sleep, start := lookMin, time.Now()
	for !l.d.lookNow() {
		since := time.Since(start)
		if since < spinFor {
			runtime.Gosched()
			continue
		}
		if since > lookFor {
			return
		}
		if sleep < time.Millisecond {
			l.alarm.Sleep(sleep)
			sleep *= 2
			continue
		}
		select {
		case <-time.After(sleep):
			sleep = min(2*sleep, lookMax)
		case <-l.wal:
			sleep, start = lookMin, time.Now()
		case <-l.quit:
			return
		}
	}
}

// lookUntilClean looks until the pages that were written are committed, as long
// as a look can find that: soon after the last write, and ever less often.
func (l *looker) lookUntilClean() {
	for sleep := lookDirty; l.d.pending(); sleep = min(2*sleep, lookMax) {
		select {
		case <-time.After(sleep):
		case <-l.wal:
		case <-l.quit:
			return
		}
		l.d.lookNow()
		select {
		case <-l.dirty:
			sleep = lookDirty / 2
		default:
		}
	}
}

// lookForEnd looks for a journal's end that was not seen as it happened. Where
// looks find none, all ends are seen, and looks become rare: each wakes threads
// that an app's next request may have to wait for.
func (l *looker) lookForEnd(pause time.Duration) (next time.Duration) {
	if l.d.lookNow() {
		return lookDirty
	}
	return min(2*pause, lookRestMax)
}

// pending tells whether pages wait for a look to find their transaction's end.
func (d *Database) pending() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.dirty.empty() && d.dirty.journal != (journalID{}) || d.unsettled()
}

// lookNow captures what is committed; false where that is nothing new.
func (d *Database) lookNow() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	progress, err := d.lookWAL()
	if err == nil && !progress {
		progress, err = d.lookDirty()
	}
	if err != nil || progress || d.dirty.empty() { // or nothing is left that has failed
		d.note(err)
	}
	return progress
}
