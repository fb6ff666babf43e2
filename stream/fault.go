package stream

import (
	"slices"
	"time"
)

// Fault is an error in [Status].
type Fault struct {
	Text  string    `json:"error"`
	At    time.Time `json:"at"`             // when it first came
	Until time.Time `json:"until,omitzero"` // when it was over; zero while it stands
}

// maxFaults is how many are kept.
const maxFaults = 8

// Faults are the last errors of a database. The zero value is none. Its owner guards it.
type Faults struct {
	last []Fault // the oldest first. Only the last may stand.
}

// Note says how it is now: err, or nil where all is well. It tells whether that error is news.
func (f *Faults) Note(err error, now time.Time) (news bool) {
	standing := f.standing()
	if standing != nil && err != nil && standing.Text == err.Error() {
		return false
	}
	if standing != nil {
		standing.Until = now
	}
	if err == nil {
		return false
	}
	f.last = append(f.last, Fault{Text: err.Error(), At: now})
	f.last = f.last[max(0, len(f.last)-maxFaults):]
	return true
}

func (f *Faults) standing() *Fault {
	if n := len(f.last); n > 0 && f.last[n-1].Until.IsZero() {
		return &f.last[n-1]
	}
	return nil
}

// Report puts the errors into a status.
func (f *Faults) Report(s *Status) {
	s.Errors = slices.Clone(f.last)
	if standing := f.standing(); standing != nil {
		s.LastError, s.LastErrorAt = standing.Text, standing.At
	}
}
