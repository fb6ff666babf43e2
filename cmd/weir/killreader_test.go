package main

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

// auditor is a reader of the replica that audits.
type auditor struct {
	*background
	does audits
}

// startReaders starts one that keeps its connection, and one that opens the database for each audit.
func (k *killing) startReaders() {
	for _, reopen := range []bool{false, true} {
		k.startReader(audits{DBs: []string{k.replica.db}, Reopen: reopen, Pause: time.Millisecond})
	}
}

func (k *killing) startReader(a audits) {
	k.t.Helper()
	k.readers = append(k.readers, &auditor{startBackground(k.t, "audits", asJSON(a)), a})
}

// replaceReaders starts another reader for each that was killed. What those met after broken, unless that is zero, does not
// count.
func (k *killing) replaceReaders(broken time.Time) {
	k.t.Helper()
	readers := k.readers
	k.readers = nil
	for _, r := range readers {
		if !r.killed {
			k.readers = append(k.readers, r)
			continue
		}
		k.judge(r, broken)
		k.startReader(r.does)
	}
}

// endReaders ends all readers. What they met after broken, unless that is zero, does not count.
func (k *killing) endReaders(broken time.Time) {
	k.t.Helper()
	for _, r := range k.readers {
		r.stdin.Close()
	}
	for _, r := range k.readers {
		k.judge(r, broken)
	}
	k.readers = nil
}

// judge requires of a reader that has ended, or has been told to, that all its answers were right, and its errors clean
// and met on a dead mount.
func (k *killing) judge(r *auditor, broken time.Time) {
	k.t.Helper()
	answers := r.answers(k.t)
	if text := r.errs.String(); text != "" {
		k.t.Errorf("a reader ended by itself: %s", text)
	}
	for _, a := range answers {
		k.audits += a.Good
		switch {
		case a.Error == "":
		case a.Clean && slices.ContainsFunc(k.outages, func(s span) bool { return a.Until.After(s.from) && a.At.Before(s.to) }):
		case !broken.IsZero() && a.Until.After(broken):
		default:
			k.t.Errorf("round %d: a reader of the replica got an error between %s and %s: %s", k.round, a.At.Format(time.StampMicro), a.Until.Format(time.StampMicro), a.Error)
		}
	}
}

// answers waits for the reader's end and returns what it printed.
func (r *auditor) answers(t *testing.T) (answers []answer) {
	t.Helper()
	for _, line := range r.reap() {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("a reader printed %q: %v", line, err)
		}
		answers = append(answers, a)
	}
	return answers
}
