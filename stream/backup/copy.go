package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"weir/stream"
)

// Source is a database that a weir serves.
type Source struct {
	URL    string       // of the weir
	Path   string       // the database's path there
	Client *http.Client // nil: one as for streams
}

var (
	// ErrNoDatabase says that the source has no database yet.
	ErrNoDatabase = errors.New("there is no database yet: nothing was ever written to it, or no snapshot of its upstream is there yet")

	errDone = errors.New("done")
)

// Copy writes the database as it is now to f, while it is written to and read, and returns its state. progress is called
// with the number of pages that are there and of those that there will be.
func Copy(ctx context.Context, src Source, f *os.File, progress func(done, total uint64)) (stream.SnapshotHeader, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c := &copying{image: newImage(f), end: end, progress: progress}
	err := stream.Follow(ctx, src.URL, src.Path, c, stream.FollowOptions{Client: src.Client, Logger: slog.New(slog.DiscardHandler)})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != errDone {
		return stream.SnapshotHeader{}, fmt.Errorf("copy %s: %w", src.Path, err)
	}
	return c.image.header(), nil
}

// copying is a replica that follows up to its first state, on the first attempt.
type copying struct {
	image    *image
	end      context.CancelCauseFunc
	progress func(done, total uint64)

	begun bool
	size  uint64 // pages, when it began
	pages uint64 // received
}

var (
	_ = (stream.Replica)((*copying)(nil))
	_ = (stream.SnapshotWriter)((*copying)(nil).writer())
)

func (c *copying) Pos() (string, stream.Pos)                             { return "", stream.Pos{} }
func (c *copying) Sums() *stream.Sums                                    { return nil }
func (c *copying) Adopt(context.Context, stream.Lineage, []string) error { return nil }
func (c *copying) Heard(stream.Heartbeat) error                          { return nil }
func (c *copying) Told(stream.Standing, time.Time)                       {}
func (c *copying) Apply(ctx context.Context, _ io.Reader, _ int64, _ stream.More) error {
	return context.Cause(ctx)
}
func (c *copying) writer() snapshotOf { return snapshotOf{c} }

// SetConnected ends the copy with what ends the connection, or as one without pages begins.
func (c *copying) SetConnected(connected bool, err error) {
	switch {
	case connected && !c.begun:
		c.end(ErrNoDatabase)
	case !connected && err != nil:
		c.end(err)
	}
}

func (c *copying) BeginSnapshot(_ context.Context, h stream.SnapshotHeader) (stream.SnapshotWriter, error) {
	c.begun, c.size = true, uint64(h.Size)
	return c.writer(), c.image.begin(h)
}

// snapshotOf is a copying's stream.SnapshotWriter.
type snapshotOf struct{ c *copying }

func (s snapshotOf) WritePage(pgno uint32, data []byte) error {
	s.c.pages++
	s.c.progress(s.c.pages, max(s.c.pages, s.c.size))
	return s.c.image.set(pgno, data)
}

func (s snapshotOf) Apply(payload io.Reader, n int64) error {
	t, err := stream.NewTxnReader(payload, n)
	if err != nil {
		return err
	}
	return s.c.image.apply(t)
}

func (s snapshotOf) Commit(_ context.Context, until stream.Pos) error {
	m := s.c.image
	if m.pos != until {
		return fmt.Errorf("the transactions lead to %s, not to %s: %w", m.pos, until, stream.ErrPosMismatch)
	}
	if err := errors.Join(m.check(), m.resize(m.size)); err != nil {
		return err
	}
	s.c.end(errDone)
	return nil
}

func (s snapshotOf) Abort() error { return nil }
