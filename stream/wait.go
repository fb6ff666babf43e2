package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/superfly/ltx"
)

const (
	// defaultWait and maxWait are how long GET /wait waits where the request does not say, and at most.
	defaultWait = 30 * time.Second
	maxWait     = time.Hour
)

// waitRequest is what GET /wait asks for.
type waitRequest struct {
	txid    TXID
	now     bool // what the primary has now, instead
	timeout time.Duration
	hops    int // servers that have asked one another
}

// hopsKey is where a request's context says how many servers have asked one another because of it.
type hopsKey struct{}

func parseWait(q url.Values) (req waitRequest, err error) {
	req.timeout = defaultWait
	if text := q.Get("timeout"); text != "" {
		if req.timeout, err = time.ParseDuration(text); err != nil || req.timeout < 0 || req.timeout > maxWait {
			return req, refuse(http.StatusBadRequest, "timeout is %q: give a time up to %s, as in 10s", text, maxWait)
		}
	}
	if text := q.Get("now"); text != "" {
		if req.now, err = strconv.ParseBool(text); err != nil {
			return req, refuse(http.StatusBadRequest, "now is %q: give 1", text)
		}
	}
	if text := q.Get("hops"); text != "" {
		if req.hops, err = strconv.Atoi(text); err != nil || req.hops < 0 {
			return req, refuse(http.StatusBadRequest, "hops is %q", text)
		}
	}
	text := q.Get("txid")
	if req.now != (text == "") {
		return req, refuse(http.StatusBadRequest, "wait for what? add txid=TXID, or now=1 for what the primary has now")
	}
	if text != "" {
		if req.txid, err = ltx.ParseTXID(text); err != nil {
			return req, refuse(http.StatusBadRequest, "txid is %q: give 16 hex digits, as in %s", text, TXID(1234))
		}
	}
	return req, nil
}

// wait answers once a transaction is published, with the position then.
func (s *Server) wait(w http.ResponseWriter, r *http.Request) {
	pos, err := s.awaitRequest(w, r)
	if err != nil {
		answer, ok := errors.AsType[*refusal](err)
		if !ok {
			answer = &refusal{code: http.StatusServiceUnavailable, text: err.Error()}
		}
		answer.write(w)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintln(w, pos)
}

func (s *Server) awaitRequest(w http.ResponseWriter, r *http.Request) (Pos, error) {
	d, err := s.find(r, s.hold)
	if err != nil {
		return Pos{}, err
	}
	defer d.streams.Done()
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return Pos{}, refuse(http.StatusServiceUnavailable, "%d requests are waiting, the most that may at once: try again later", cap(s.waiting))
	}
	req, err := parseWait(r.URL.Query())
	if err != nil {
		return Pos{}, err
	}
	if req.hops >= maxInstances {
		return Pos{}, refuse(http.StatusServiceUnavailable, "%d servers have asked one another where the primary is: they may follow themselves, in a ring", req.hops)
	}
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Time{}) // only its end is waited for
	rc.SetWriteDeadline(time.Now().Add(req.timeout + s.opt.WriteTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), req.timeout)
	defer cancel()
	defer context.AfterFunc(d.ctx, cancel)()
	ctx = context.WithValue(ctx, hopsKey{}, req.hops+1)
	return d.await(ctx, req)
}

// await waits until the database has what is asked for.
func (d *served) await(ctx context.Context, req waitRequest) (Pos, error) {
	log := d.db.Log()
	if req.now {
		now, err := d.now(ctx)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Pos{}, refuse(http.StatusGatewayTimeout, "the upstream of %s has not said within %s where the primary is", d.path, req.timeout)
		}
		if err != nil {
			return Pos{}, fmt.Errorf("ask the upstream of %s where the primary is: %w", d.path, err)
		}
		req.txid = now.TXID
	}
	err := log.Wait(ctx, req.txid)
	pos := log.Published()
	switch {
	case err == nil:
		return pos, nil
	case d.ctx.Err() != nil:
		return pos, refuse(http.StatusServiceUnavailable, "%s is not served here any more", d.path)
	case errors.Is(err, context.DeadlineExceeded):
		return pos, refuse(http.StatusGatewayTimeout, "%s is at %s, and %s has not come within %s", d.path, pos, req.txid, req.timeout)
	}
	return pos, err
}

// A Current database knows where its primary is at the moment, or it is only known what the database itself has.
type Current interface {
	// Now returns a position that has all that the primary had committed when it was called.
	Now(ctx context.Context) (Pos, error)
}

func (d *served) now(ctx context.Context) (Pos, error) {
	if c, ok := d.db.(Current); ok {
		return c.Now(ctx)
	}
	return d.db.Log().Published(), nil
}

// AskNow asks the server at base where the primary of its database at path is at the moment, and returns once the server
// is there, too.
func AskNow(ctx context.Context, base, path string, opt FollowOptions) (Pos, error) {
	timeout := defaultWait
	if end, ok := ctx.Deadline(); ok {
		timeout = min(time.Until(end)+time.Second, maxWait) // so that ctx ends first
	}
	hops, _ := ctx.Value(hopsKey{}).(int)
	u, err := upstreamURL(base)
	if err != nil {
		return Pos{}, err
	}
	u = u.JoinPath("wait")
	u.RawQuery = url.Values{"path": {path}, "now": {"1"}, "timeout": {timeout.String()}, "hops": {strconv.Itoa(hops)}}.Encode()
	if opt.Client == nil {
		opt.Client = newClient(cmp.Or(opt.Timeout, 5*time.Second), opt.Credentials.tls())
		defer opt.Client.CloseIdleConnections()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Pos{}, err
	}
	opt.Credentials.authorize(req)
	resp, err := opt.Client.Do(req)
	if err != nil {
		return Pos{}, explainDo(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Pos{}, refused(resp)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return Pos{}, err
	}
	return parsePosText(strings.TrimSpace(string(b)))
}
