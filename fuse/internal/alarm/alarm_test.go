package alarm

import (
	"slices"
	"testing"
	"time"
)

// A sleep takes as long as it says at least, and not always a millisecond, as Go's own.
func TestSleep(t *testing.T) {
	const d = 100 * time.Microsecond
	var a Alarm
	defer a.Close()
	var took []time.Duration
	for range 200 {
		start := time.Now()
		a.Sleep(d)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	if shortest, quarter := took[0], took[len(took)/4]; shortest < d || quarter > 9*d {
		t.Errorf("200 sleeps of %v took %v and more, a quarter of them up to %v", d, shortest, quarter)
	}
}

// A sleep of no time ends, and so does one without a descriptor.
func TestSleepEnds(t *testing.T) {
	var a Alarm
	a.Sleep(0)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	a.Sleep(time.Millisecond)
	if took := time.Since(start); took < time.Millisecond {
		t.Errorf("a sleep of 1ms without a descriptor took %v", took)
	}
}
