package scrub

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Pages are read from the first to the last, a minute after the start and a day after that, and what each step took is a
// tenth of the time.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type step struct {
			from uint32
			at   time.Duration
		}
		var got []step
		start, stop, ended := time.Now(), make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			Run(stop, Timing{}, func(from uint32) uint32 {
				got = append(got, step{from, time.Since(start)})
				time.Sleep(time.Second)
				return map[uint32]uint32{1: 10, 10: 11}[from]
			})
		}()
		time.Sleep(25 * time.Hour)
		close(stop)
		<-ended
		const again = time.Minute + 30*time.Second + 24*time.Hour
		want := []step{
			{1, time.Minute}, {10, time.Minute + 10*time.Second}, {11, time.Minute + 20*time.Second},
			{1, again}, {10, again + 10*time.Second}, {11, again + 20*time.Second},
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A stop is not waited for: neither where nothing is read, nor between two steps.
func TestStop(t *testing.T) {
	for _, after := range []time.Duration{30 * time.Second, 65 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			stop, steps := make(chan struct{}), 0
			start := time.Now()
			time.AfterFunc(after, func() { close(stop) })
			Run(stop, Timing{}, func(from uint32) uint32 {
				steps++
				time.Sleep(time.Second)
				return from + 1
			})
			if took, want := time.Since(start), after; took != want {
				t.Errorf("ended after %v, want %v", took, want)
			}
			if want := int(after / time.Minute); steps != want {
				t.Errorf("stop after %v: got %d steps, want %d", after, steps, want)
			}
		})
	}
}
