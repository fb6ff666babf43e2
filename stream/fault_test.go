package stream

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestFaults(t *testing.T) {
	var f Faults
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for i, tt := range []struct {
		err  string // "": all is well
		news bool
		want Fault // that stands
	}{
		{"", false, Fault{}},
		{"a", true, Fault{Text: "a", At: at(1)}},
		{"a", false, Fault{Text: "a", At: at(1)}},
		{"b", true, Fault{Text: "b", At: at(3)}},
		{"", false, Fault{}},
		{"", false, Fault{}},
		{"b", true, Fault{Text: "b", At: at(6)}},
	} {
		var err error
		if tt.err != "" {
			err = errors.New(tt.err)
		}
		news := f.Note(err, at(i))
		var s Status
		f.Report(&s)
		if news != tt.news || s.LastError != tt.want.Text || s.LastErrorAt != tt.want.At {
			t.Errorf("%d: got news %v and %+v, want %v and %+v", i, news, s, tt.news, tt.want)
		}
	}
	var s Status
	f.Report(&s)
	if want := []Fault{{"a", at(1), at(3)}, {"b", at(3), at(4)}, {"b", at(6), time.Time{}}}; !slices.Equal(s.Errors, want) {
		t.Errorf("got %v, want %v", s.Errors, want)
	}
	for i := range 2 * maxFaults {
		f.Note(errors.New(string(rune('c'+i))), at(10+i))
	}
	if f.Report(&s); len(s.Errors) != maxFaults || s.Errors[maxFaults-1].At != at(9+2*maxFaults) {
		t.Errorf("got %v, want the newest %d", s.Errors, maxFaults)
	}
}
