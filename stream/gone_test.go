package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// awaitStatus waits until the server's one database is as wanted.
func awaitStatus(t *testing.T, s *Server, what string, wanted func(Status) bool) (st Status) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if st = s.Statuses(new(http.Request))[0]; wanted(st) {
			return st
		}
	}
	t.Fatalf("%s: got %+v", what, st)
	return st
}

// A follower that has a name is missed until it is back.
func TestFollowerGone(t *testing.T) {
	up, down := pair(t)
	s, base := serve(t, up)
	opt := FollowOptions{Name: "b:/data/db"}
	stop := followWith(t, base, down, opt)
	pos := up.log.Published()
	st := awaitStatus(t, s, "a follower with a name", func(st Status) bool { return len(st.Streams) == 1 && st.Streams[0].Pos == pos })
	if st.Streams[0].Name != opt.Name || len(st.Gone) != 0 || st.At.IsZero() {
		t.Errorf("got %+v, want %s, and none gone", st, opt.Name)
	}
	left := time.Now()
	stop()
	st = awaitStatus(t, s, "it missed", func(st Status) bool { return len(st.Gone) == 1 })
	first := st.Gone[0]
	if first.Name != opt.Name || first.Pos != pos || first.At.Before(left) || first.Reason != errConnLost.Error() || first.Addr == "" || len(st.Streams) != 0 {
		t.Errorf("got %+v, want %s at %s", st, opt.Name, pos)
	}

	// A refusal is no news of where it is and since when it is missed.
	q := url.Values{"path": {testPath}, nameParam: {opt.Name}, "id": {idC}, "at": {testPos(3).String()}}
	if resp, text := get(t, "GET", base+"/stream?"+q.Encode(), nil); resp.StatusCode != 409 {
		t.Fatalf("another database: got %s %s", resp.Status, text)
	}
	st = awaitStatus(t, s, "a refusal", func(st Status) bool { return len(st.Gone) == 1 && st.Gone[0].Reason != first.Reason })
	if again := st.Gone[0]; again.Pos != first.Pos || again.At != first.At {
		t.Errorf("got %+v, want the time and position of %+v", again, first)
	}

	followWith(t, base, down, opt)
	awaitStatus(t, s, "it back", func(st Status) bool { return len(st.Streams) == 1 && len(st.Gone) == 0 })
}

// Who has no name, or went long ago, or before many others, is not missed.
func TestFollowerForgotten(t *testing.T) {
	d := &served{}
	now := time.Now()
	for i := range maxGone + 3 {
		d.remember(GoneStream{Name: fmt.Sprintf("%03d", i), At: now}, errConnLost)
	}
	d.remember(GoneStream{At: now}, errConnLost)
	d.remember(GoneStream{Name: "well"}, nil)
	if gone := d.missing(now); len(gone) != maxGone || gone[0].Name != "003" {
		t.Errorf("got %d, %+v, want %d from 003", len(gone), gone[0], maxGone)
	}
	if gone := d.missing(now.Add(goneFor + 1)); len(gone) != 0 || len(d.gone) != 0 {
		t.Errorf("after a day and more: got %+v", gone)
	}
}

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"":                               "",
		"b:/data/ü db":                   "b:/data/ü db",
		"a\x1b[2Jb\nc\xff\u202e":         "a\ufffd[2Jb\ufffdc\ufffd\ufffd",
		strings.Repeat("x", maxName+9):   strings.Repeat("x", maxName),
		strings.Repeat("ü", maxName/2+9): strings.Repeat("ü", maxName/2),
		"x" + strings.Repeat("ü", 200):   "x" + strings.Repeat("ü", maxName/2-1),
	} {
		if got := cleanName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestWhyGone(t *testing.T) {
	write := func(err error) error { return fmt.Errorf("write: %w", &net.OpError{Op: "write", Err: err}) }
	for _, tt := range []struct{ err, want error }{
		{fmt.Errorf("follow: %w", context.Canceled), errConnLost},
		{write(os.NewSyscallError("write", syscall.EPIPE)), errConnLost},
		{write(os.NewSyscallError("write", syscall.ECONNRESET)), errConnLost},
		{write(os.NewSyscallError("write", syscall.ETIMEDOUT)), errHostSilent},
		{write(os.ErrDeadlineExceeded), errTakesNone},
	} {
		if got := whyGone(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
	// It is not taken for an answer that could still be given.
	err := whyGone(&refusal{code: 503, text: "too many"})
	if _, ok := errors.AsType[*refusal](err); ok || err.Error() != "too many" {
		t.Errorf("a refusal: got %#v", err)
	}
}
