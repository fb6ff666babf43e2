package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A Comparable database has an upstream that it should be the same as.
type Comparable interface {
	// UpstreamSums has the upstream read all its pages; see [AskSums].
	UpstreamSums(ctx context.Context, progress func(done, total uint32)) (*Sums, Pos, error)
}

// Verification is a line of the answer to GET /verify. All but the last say only how far it is.
type Verification struct {
	Reading string `json:"reading,omitempty"` // "replica" or "upstream", whose pages are read
	Done    uint32 `json:"done,omitempty"`    // pages
	Of      uint32 `json:"of,omitempty"`

	// In the last line.
	Pos      string   `json:"pos,omitempty"` // at which both were compared
	Pages    uint32   `json:"pages,omitempty"`
	Upstream string   `json:"upstream,omitempty"`
	Differ   int      `json:"differ,omitempty"` // how many pages differ
	First    []uint32 `json:"first,omitempty"`  // the first of them
	Damaged  bool     `json:"damaged,omitempty"`
	Error    string   `json:"error,omitempty"` // why there is no result; with Damaged it is one
}

const (
	// verifyLines is how often a line says how far a verification is.
	verifyLines = 200 * time.Millisecond
	// catchUp is how long the replica may take to come to where the upstream is.
	catchUp = 30 * time.Second
	// maxFirst is how many pages that differ are named.
	maxFirst = 100
)

// verify compares a replica with its upstream.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	d, err := s.find(r, s.hold)
	if err == nil {
		defer d.streams.Done()
		err = s.startVerify(w, r, d)
	}
	if refusal, ok := errors.AsType[*refusal](err); ok {
		refusal.write(w)
	}
}

func (s *Server) startVerify(w http.ResponseWriter, r *http.Request, d *served) error {
	upstream, ok := d.db.(Comparable)
	if !ok {
		return refuse(http.StatusBadRequest, "%s is a primary: there is nothing that it should be the same as; verify a replica of it", d.path)
	}
	select {
	case s.verifying <- struct{}{}:
		defer func() { <-s.verifying }()
	default:
		return refuse(http.StatusServiceUnavailable, "another verification is going on: try again later")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	conn := &deadlineWriter{w: w, rc: http.NewResponseController(w), timeout: s.opt.WriteTimeout}
	defer conn.end(false)
	defer context.AfterFunc(d.ctx, func() { cancel(); conn.end(true) })()
	conn.extendRead(0)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	v := &verification{s: s, d: d, upstream: upstream, conn: conn}
	result, err := v.run(ctx)
	if err != nil {
		result = Verification{Error: err.Error(), Damaged: errors.Is(err, ErrDamaged)}
	}
	result.Upstream = d.db.Status().Upstream
	v.line(result)
	return nil
}

// verification is one in progress.
type verification struct {
	s        *Server
	d        *served
	upstream Comparable
	conn     *deadlineWriter
	said     time.Time
}

// line sends one; the last finds the error, if there is one.
func (v *verification) line(l Verification) {
	b, err := json.Marshal(l)
	if err == nil {
		_, err = v.conn.Write(append(b, '\n'))
	}
	if err == nil {
		v.conn.flush()
	}
}

// progress says how far the reading of pages is, now and then.
func (v *verification) progress(whose string) func(done, total uint32) {
	return func(done, total uint32) {
		if now := time.Now(); now.Sub(v.said) >= verifyLines {
			v.said = now
			v.line(Verification{Reading: whose, Done: done, Of: total})
		}
	}
}

// run reads the replica's pages, then the upstream's, which are not older, and then takes what the replica has got
// meanwhile from its log.
func (v *verification) run(ctx context.Context) (Verification, error) {
	own, reader, err := v.own(ctx)
	if reader != nil {
		defer reader.Close()
	}
	if err != nil {
		return Verification{}, fmt.Errorf("read the replica's pages: %w", err)
	}
	sums, pos, err := v.upstream.UpstreamSums(ctx, v.progress("upstream"))
	if err != nil {
		return Verification{}, fmt.Errorf("read the upstream's pages: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	if err := own.advance(within, reader, pos.TXID); err != nil {
		return Verification{}, fmt.Errorf("the upstream's pages are those at %s, and the replica is at %s: %w", pos, own.pos, err)
	}
	if own.pos.TXID != pos.TXID {
		return Verification{}, fmt.Errorf("the replica is at %s, and ahead of its upstream at %s", own.pos, pos)
	}
	return compareSums(own.sums, sums, pos), nil
}

// own reads all pages of the replica.
func (v *verification) own(ctx context.Context) (own tableAt, reader *LogReader, err error) {
	select {
	case v.s.reading <- struct{}{}:
		defer func() { <-v.s.reading }()
	case <-ctx.Done():
		return own, nil, ctx.Err()
	}
	begin := func(h SnapshotHeader) error {
		own.begin(h)
		reader, err = v.d.db.Log().Reader(h.Pos)
		return err
	}
	progress := v.progress("replica")
	until, err := v.d.db.Snapshot(ctx, nil, begin, func(pgno uint32, data []byte) error {
		own.sums.Set(pgno, PageSum(pgno, data))
		progress(min(pgno, own.size), own.size)
		return nil
	})
	if err == nil && reader == nil {
		err = errors.New("there is no database yet")
	}
	if err == nil {
		err = own.advance(ctx, reader, until.TXID)
	}
	return own, reader, err
}

// advance applies the log's transactions up to txid, and waits for them.
func (t *tableAt) advance(ctx context.Context, reader *LogReader, txid TXID) error {
	for t.pos.TXID < txid {
		rec, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		r := recordReader{r: rec.Data}
		_, n, err := r.next()
		if err == nil {
			err = t.apply(&r, n)
		}
		if err == nil {
			err = r.end()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compareSums compares page by page.
func compareSums(own, upstream *Sums, pos Pos) Verification {
	v := Verification{Pos: pos.String(), Pages: upstream.Len()}
	for pgno := uint32(1); pgno <= max(own.Len(), upstream.Len()); pgno++ {
		if own.Page(pgno) == upstream.Page(pgno) && own.PageSize() == upstream.PageSize() {
			continue
		}
		if v.Differ++; len(v.First) < maxFirst {
			v.First = append(v.First, pgno)
		}
	}
	return v
}
