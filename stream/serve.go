package stream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// sendBuffered is how much of a stream is gathered before it is written, in bytes. Any page's record fits. It is most of
// what a follower takes of memory.
const sendBuffered = 72 << 10

// request is what a follower asks for.
type request struct {
	pos    Pos
	hasPos bool
	delta  bool // the body has page checksums
	sums   bool // checksums of pages are wanted, not pages
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "a stream has no end: GET it", http.StatusMethodNotAllowed)
		return
	}
	d, c, err := s.enter(r)
	if err == nil {
		defer func() { s.leave(d, c, err) }()
		var req request
		if req, err = parseRequest(r, d.db.Log()); err == nil {
			err = s.serve(w, r, d, c, req)
		}
	}
	if refusal, ok := errors.AsType[*refusal](err); ok {
		refusal.write(w)
	}
}

func parseRequest(r *http.Request, log *Log) (req request, err error) {
	q := r.URL.Query()
	var at Pos // where the replica is, however it asks
	if text := q.Get("at"); text != "" {
		if at, err = parsePosText(text); err != nil {
			return req, refuse(http.StatusBadRequest, "%v", err)
		}
	}
	if id := q.Get("id"); id != "" {
		if err := log.Admit(id, at); err != nil {
			return req, &refusal{http.StatusConflict, conflictDatabase, err.Error()}
		}
	}
	req.delta = r.Method == http.MethodPost
	req.sums = !req.delta && q.Get("sums") != ""
	if text := q.Get("pos"); text == posFirst {
		req.pos, req.hasPos = log.First(), true
	} else if text != "" {
		if req.pos, err = parsePosText(text); err != nil {
			return req, refuse(http.StatusBadRequest, "%v", err)
		}
		req.hasPos = req.pos != Pos{}
	}
	return req, nil
}

// follower is one stream.
type follower struct {
	db  Database
	log *Log
	ctx context.Context // its handler's
	opt ServerOptions
	via []string // as announced in hello

	token   string      // of its connected
	allowed func() bool // still

	reading chan struct{} // the server's
	reads   bool          // has put a value into reading. Of the handler's goroutine.

	mu   sync.Mutex // guards all below while a snapshot has its own heartbeat
	w    *bufio.Writer
	conn *deadlineWriter
	sums []byte // not sent yet, in the place of pages
}

// serve answers with a stream until ctx or the follower ends it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, d *served, c *connected, req request) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	conn := &deadlineWriter{w: w, rc: http.NewResponseController(w), timeout: s.opt.WriteTimeout}
	defer conn.end(false)
	defer context.AfterFunc(d.ctx, func() { cancel(); conn.end(true) })()
	f := &follower{
		db: d.db, log: d.db.Log(), ctx: ctx, opt: s.opt, conn: conn, reading: s.reading, via: s.via(d.db), token: c.token,
		allowed: func() bool { return s.opt.Allow(r, d.path) },
		w:       bufio.NewWriterSize(conn, sendBuffered),
	}
	if len(f.via) > maxInstances {
		return refuse(http.StatusServiceUnavailable, "%d servers lie between this one and the primary, the most that are allowed: follow one nearer to it", len(f.via)-1)
	}
	logger := s.opt.Logger.With("db", d.path, "follower", r.RemoteAddr)
	if req.sums {
		err := f.pageSums()
		logger.Info("page checksums asked for", "err", err)
		return err
	}
	reader, err := s.begin(f, req, r.Body)
	if reader != nil {
		defer reader.Close()
	}
	if err == nil {
		s.begun(c, reader)
		logger.Info("follower connected", "pos", reader.Pos())
		err = f.follow(reader)
	}
	if conn.begun() {
		logger.Info("follower gone", "err", err)
		return whyGone(err)
	}
	if _, ok := errors.AsType[*refusal](err); !ok {
		logger.Warn("follower turned away", "err", err)
		err = refuse(http.StatusServiceUnavailable, "%v", err)
	}
	return err
}

// begin opens the stream, up to where transactions follow one after another.
func (s *Server) begin(f *follower, req request, body io.Reader) (*LogReader, error) {
	if req.delta {
		have, err := s.readSums(f, body)
		if err != nil {
			return nil, err
		}
		return f.snapshot(have, f.page)
	}
	f.conn.extendRead(0) // the request is read; the connection is watched for its end, which may be long in coming
	if !req.hasPos && f.log.Published() != (Pos{}) {
		return f.snapshot(nil, f.page)
	}
	reader, err := f.log.Reader(req.pos)
	if errors.Is(err, ErrNotInLog) {
		return nil, &refusal{http.StatusConflict, conflictPosition, fmt.Sprintf(
			"%s is not in the log, which has %s to %s: POST your page checksums here for the pages that differ",
			req.pos, f.log.First(), f.log.Published())}
	}
	if err != nil {
		return nil, err
	}
	// Sizes are for those who get pages: to ask the database now would wait for a transaction that it captures.
	f.header()
	f.conn.w.Header().Set(standingHeader, standingAt(req.pos, f.log, time.Now()).String())
	return reader, f.hello(hello{SnapshotHeader: SnapshotHeader{Pos: req.pos}})
}

// header announces a stream, before its first byte.
func (f *follower) header() {
	header := f.conn.w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("Connection", "close")
	header.Set(streamHeader, f.token)
	header.Set("X-Accel-Buffering", "no") // or nginx holds transactions back
}

// hello is sent at once; what follows may take time to come.
func (f *follower) hello(h hello) error {
	h.Lineage, h.via = f.log.Lineage(), f.via
	if err := f.record(recordHello, h.append(nil)); err != nil {
		return err
	}
	return f.flush()
}

// record writes a short record.
func (f *follower) record(t recordType, payload ...[]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := recordOverhead
	for _, p := range payload {
		n += len(p)
	}
	if f.w.Available() < n {
		if err := f.w.Flush(); err != nil {
			return err
		}
	}
	_, err := f.w.Write(appendRecord(f.w.AvailableBuffer(), t, payload...))
	return err
}

// follow streams transactions as they are published.
func (f *follower) follow(reader *LogReader) error {
	t := time.NewTicker(f.opt.Heartbeat)
	defer t.Stop()
	if err := f.beat(reader); err != nil {
		return err
	}
	for {
		rec, watch, err := reader.poll()
		if err == nil && watch == nil {
			err = f.copy(reader, rec)
		} else if err == nil {
			err = f.flush()
		}
		if err != nil {
			return err
		}
		if watch == nil {
			watch = ready // the next record may be there
		}
		select {
		case <-t.C:
			if err = f.beat(reader); err == nil {
				err = f.standing()
			}
		case <-f.ctx.Done():
			return f.ctx.Err()
		case <-watch:
		}
		if err != nil {
			return err
		}
	}
}

var (
	// errRerouted ends a stream, so that its follower learns whom it follows now.
	errRerouted = errors.New("the upstream has another way to the primary")

	errRevoked = errors.New("these credentials may not read the database any more")
)

// standing tells why a stream is to end, if it is.
func (f *follower) standing() error {
	switch {
	case !slices.Equal(f.via[1:], f.db.Via()):
		return errRerouted
	case !f.allowed():
		return errRevoked
	}
	return nil
}

// via is the instances from this server up to the primary.
func (s *Server) via(db Database) []string { return append([]string{s.instance}, db.Via()...) }

// ready is a channel on which no one waits.
var ready = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// beat sends a heartbeat. reader is nil while pages are sent.
func (f *follower) beat(reader *LogReader) error {
	h := Heartbeat{Pos: f.log.Published(), At: time.Now(), Lag: f.db.Lag()}
	if reader != nil {
		h.Behind = f.log.bytesAfter(reader.Pos().TXID)
	}
	return f.record(recordBeat, h.append(nil))
}

func (f *follower) flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.w.Flush(); err != nil {
		return err
	}
	return f.conn.flush()
}
