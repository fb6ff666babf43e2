package stream

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Followers that name themselves are remembered when they go, so that /status can say who is missing. Nothing else depends
// on a name: it is not unique, and anyone who may follow may choose it.

const (
	// nameParam is where a follower names itself in a request.
	nameParam = "name"
	// maxName bounds a name, in bytes: paths and credentials need their room in a request's header, too.
	maxName = 256
	// maxGone bounds how many are remembered of one database.
	maxGone = 64
	// goneFor is for how long a follower is missed.
	goneFor = 24 * time.Hour
)

// cleanName makes what a follower calls itself fit to be sent, and to be shown on a terminal.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, name)
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	return name
}

var (
	errConnLost   = errors.New("its connection was closed or lost")
	errHostSilent = errors.New("its host did not answer any more")
	errTakesNone  = errors.New("it did not take what was sent")
)

// whyGone says why a stream that had begun ended. It is no refusal, for which it is too late.
func whyGone(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return errConnLost
	case errors.Is(err, syscall.ETIMEDOUT):
		return errHostSilent
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errTakesNone
	}
	return errors.New(err.Error())
}

// remember notes why a stream has ended, or was refused, which is no news of where the follower is. The caller holds
// Server.mu.
func (d *served) remember(g GoneStream, err error) {
	if g.Name == "" || err == nil {
		return
	}
	g.Reason = err.Error()
	if i := slices.IndexFunc(d.gone, func(old GoneStream) bool { return old.Name == g.Name }); i >= 0 {
		if _, refused := errors.AsType[*refusal](err); refused {
			g.Pos, g.At = d.gone[i].Pos, d.gone[i].At
		}
		d.gone = slices.Delete(d.gone, i, i+1)
	}
	if d.gone = append(d.gone, g); len(d.gone) > maxGone {
		d.gone = d.gone[1:]
	}
}

// missing returns who is gone and has not come back, by name. The caller holds Server.mu.
func (d *served) missing(now time.Time) (gone []GoneStream) {
	d.gone = slices.DeleteFunc(d.gone, func(g GoneStream) bool { return now.Sub(g.At) > goneFor })
	back := make(map[string]bool, len(d.open))
	for c := range d.open {
		back[c.name] = true
	}
	for _, g := range d.gone {
		if !back[g.Name] {
			gone = append(gone, g)
		}
	}
	slices.SortFunc(gone, func(a, b GoneStream) int { return cmp.Compare(a.Name, b.Name) })
	return gone
}
