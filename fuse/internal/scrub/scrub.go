// Package scrub says when a database is read in full, to find what rots on the disk, and how fast. What is read, and
// compared, is its caller's.
package scrub

import (
	"cmp"
	"time"
)

// Timing says when a database is read. The zero value works.
type Timing struct {
	After time.Duration // from the start to the first time; a minute
	Every time.Duration // from the end of one time to the next; a day
}

// StepBytes is how much a step may read.
const StepBytes = 1 << 20

// pause is how many times as long as a step took nothing is read after it: so a tenth of the time goes into reading.
const pause = 9

// Run reads a database again and again, until stop is closed. Step reads some pages from a page on, and returns the one
// that is next, 0 at the end. It begins with page 1.
func Run(stop <-chan struct{}, t Timing, step func(from uint32) (next uint32)) {
	wait := cmp.Or(t.After, time.Minute)
	for Sleep(stop, wait) {
		for next := uint32(1); next != 0; {
			began := time.Now()
			next = step(next)
			if !Sleep(stop, pause*time.Since(began)) {
				return
			}
		}
		wait = cmp.Or(t.Every, 24*time.Hour)
	}
}

// Sleep waits for d; it returns false at once that stop is closed.
func Sleep(stop <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-stop:
		return false
	case <-t.C:
		return true
	}
}
