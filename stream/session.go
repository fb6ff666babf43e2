package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

var (
	errConn   = errors.New("stream") // marks an error of the connection rather than of the replica
	errEnded  = errors.New("upstream ended the stream")
	errSilent = errors.New("nothing heard from upstream")
)

// session is one connection to the upstream.
type session struct {
	f   *following
	r   Replica
	ctx context.Context
	in  recordReader
	got *ahead // what in reads

	acks *acks

	standing string    // as the upstream said it with its answer, "" where it did not
	asked    time.Time // for that

	id     string         // of the upstream's database; "" before hello
	snap   SnapshotWriter // until a snapshot or delta is done
	page   []byte         // of the page size while there is snap
	packed []byte
}

// session connects and feeds the replica until something ends it.
func (f *following) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, from, err := f.request(ctx, f.want)
	if err != nil {
		return err
	}
	dog := &watchdog{timeout: f.opt.Timeout, timer: time.AfterFunc(f.opt.Timeout, func() { cancel(errSilent) })}
	defer dog.timer.Stop()
	if req.Body != nil {
		req.Body = dog.watchSent(req.Body)
	}
	client := f.httpClient()
	asked := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return dog.explain(ctx, explainDo(err))
	}
	defer resp.Body.Close()
	dog.r = resp.Body
	if resp.StatusCode != http.StatusOK {
		return refused(resp)
	}
	acks := f.startAcks(ctx, client, resp)
	got := readAhead(dog)
	defer func() { cancel(nil); acks.wait(); got.Close() }()
	s := &session{f: f, r: f.r, ctx: ctx, acks: acks, standing: resp.Header.Get(standingHeader), asked: asked, in: recordReader{r: got}, got: got}
	err = s.run(from)
	if s.snap != nil {
		err = errors.Join(err, s.snap.Abort())
	}
	return dog.explain(ctx, s.in.explain(err))
}

func (s *session) run(from Pos) error {
	if err := s.hello(from); err != nil {
		return err
	}
	for {
		t, n, err := s.in.next()
		if err == nil {
			err = s.record(t, n)
		}
		if err != nil {
			return err
		}
	}
}

// hello reads the stream's first record but for beats, and checks that it is what was asked for.
func (s *session) hello(from Pos) error {
	t, n, err := s.in.next()
	for err == nil && t == recordBeat {
		if err = s.beat(n); err == nil {
			t, n, err = s.in.next()
		}
	}
	if err != nil {
		return err
	}
	if t != recordHello {
		return fmt.Errorf("stream begins with %s, not with %s", t, recordHello)
	}
	b, err := s.in.payload(make([]byte, n), n)
	if err != nil {
		return err
	}
	h, err := parseHello(b)
	if err != nil {
		return err
	}
	if slices.Contains(h.via, s.f.opt.Instance) {
		return fmt.Errorf("%w, in a ring of %d: give it another upstream", ErrRing, 1+slices.Index(h.via, s.f.opt.Instance))
	}
	if !h.pages && h.Pos != from {
		return fmt.Errorf("stream begins at %s, asked for %s: %w", h.Pos, from, ErrPosMismatch)
	}
	if err := s.r.Adopt(s.ctx, h.Lineage, h.via); err != nil {
		return err
	}
	s.id = h.ID
	if h.pages {
		return s.beginSnapshot(h)
	}
	s.r.SetConnected(true, nil)
	if st, ok := parseStanding(s.standing); ok {
		s.r.Told(st, s.asked)
	}
	s.f.opt.Logger.Info("connected", "pos", h.Pos)
	return nil
}

func (s *session) beginSnapshot(h hello) error {
	w, err := s.r.BeginSnapshot(s.ctx, h.SnapshotHeader)
	if err != nil {
		return fmt.Errorf("begin snapshot: %w", err)
	}
	s.snap, s.page, s.packed = w, make([]byte, h.PageSize), make([]byte, maxPayload(recordPage))
	s.r.SetConnected(true, nil)
	s.f.opt.Logger.Info("receiving snapshot", "pos", h.Pos, "size", h.Size, "delta", s.f.want == wantDelta)
	return nil
}

func (s *session) record(t recordType, n int64) error {
	switch {
	case t == recordTxn && s.snap != nil:
		return s.end(s.snap.Apply(&s.in, n))
	case t == recordTxn:
		return s.apply(n)
	case t == recordPage && s.snap != nil:
		return s.writePage(n)
	case t == recordDone && s.snap != nil:
		return s.done(n)
	case t == recordBeat:
		return s.beat(n)
	}
	return fmt.Errorf("%w: %s record out of place", ErrCorrupt, t)
}

func (s *session) apply(n int64) error {
	if err := s.end(s.r.Apply(s.ctx, &s.in, n, s.more)); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	s.f.progress()
	return nil
}

// more ends a transaction's record and begins the next, if that is a transaction and has come as a whole.
func (s *session) more() (n int64, ok bool, err error) {
	if err := s.in.end(); err != nil {
		return 0, false, err
	}
	var header [recordHeaderSize]byte
	if !s.got.peek(header[:]) {
		return 0, false, nil
	}
	t, n, err := parseHeader(header[:])
	if err != nil || t != recordTxn || !s.got.has(n+recordOverhead) {
		return 0, false, nil // who takes it next finds out
	}
	_, n, err = s.in.next()
	return n, err == nil, err
}

// end ends a transaction's record, which the replica has read.
func (s *session) end(err error) error {
	if err == nil {
		err = s.in.end()
	}
	return err
}

func (s *session) writePage(n int64) error {
	b, err := s.in.payload(s.packed, n)
	if err != nil {
		return err
	}
	pgno, err := parsePage(b, s.page)
	if err != nil {
		return err
	}
	return s.snap.WritePage(pgno, s.page)
}

func (s *session) done(n int64) error {
	b, err := s.in.payload(make([]byte, n), n)
	if err != nil {
		return err
	}
	until, err := parseDone(b)
	if err != nil {
		return err
	}
	w := s.snap
	if err := w.Commit(s.ctx, until); err != nil {
		return fmt.Errorf("complete snapshot: %w", err)
	}
	s.snap, s.page, s.packed = nil, nil, nil
	s.f.progress()
	s.f.opt.Logger.Info("snapshot complete", "pos", until)
	return nil
}

func (s *session) beat(n int64) error {
	b, err := s.in.payload(make([]byte, n), n)
	if err != nil {
		return err
	}
	h, err := parseBeat(b)
	if err != nil || s.id == "" { // before hello it says only that the upstream is there
		return err
	}
	err = s.r.Heard(h)
	if s.snap != nil {
		return nil // the pages are coming
	}
	if err != nil {
		return err
	}
	_, own := s.r.Pos()
	if own == h.Pos {
		s.f.progress()
	}
	s.acks.offer(own, h)
	return nil
}

// watched is how much of an answer is read at a time, in bytes. net/http reads on to the end of what was asked for or of
// an HTTP chunk: the whole of one takes seconds on a slow line.
const watched = 4 << 10

// watchdog is a reader that cancels the session when the answer or a read takes
// too long. The time between reads, in which the replica works, does not count.
type watchdog struct {
	r       io.Reader
	timeout time.Duration
	timer   *time.Timer
}

func (w *watchdog) Read(p []byte) (int, error) {
	w.timer.Reset(w.timeout)
	n, err := w.r.Read(p[:min(len(p), watched)])
	w.timer.Stop()
	return n, err
}

// sumsTimeouts is how many times as long as for other answers a follower waits where it has sent its page checksums.
const sumsTimeouts = 6

// watchSent lets the answer take longer while a request's body is sent: what the
// kernel holds of it must reach the upstream first.
func (w *watchdog) watchSent(body io.ReadCloser) io.ReadCloser {
	return io.NopCloser(readerFunc(func(p []byte) (int, error) {
		w.timer.Reset(sumsTimeouts * w.timeout)
		return body.Read(p)
	}))
}

// explain says of an error that came from the watchdog why it did.
func (w *watchdog) explain(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return fmt.Errorf("%w for %s", errSilent, w.timeout)
	}
	return err
}
