package stream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// FollowOptions tune Follow. The zero value works.
type FollowOptions struct {
	Logger     *slog.Logger  // slog.Default
	Client     *http.Client  // one of its own, with Credentials.TLS. It must have no Timeout.
	Timeout    time.Duration // without a byte from the upstream; 5 seconds
	MinBackoff time.Duration // before the first new attempt; 50 ms
	MaxBackoff time.Duration // between two attempts; 5 seconds
	Instance   string        // of the server that serves the replica further, "" where there is none; see [ErrRing]
	Name       string        // by which the upstream's /status calls and misses the replica; "": by its address, while it is there

	Credentials Credentials

	// Followers says who follows the replica, for the upstream's /status; nil: nobody can.
	Followers func() Followers
}

// withDefaults has the logger name what is followed.
func (o FollowOptions) withDefaults(of ...any) FollowOptions {
	o.Logger = cmp.Or(o.Logger, slog.Default()).With(of...)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.MinBackoff = cmp.Or(o.MinBackoff, 50*time.Millisecond)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 5*time.Second)
	if o.Followers == nil {
		o.Followers = func() Followers { return Followers{} }
	}
	return o
}

var (
	// ErrOtherDatabase says that the upstream's database is not the one that
	// the replica has. Follow does not overwrite it, and asks again from time to
	// time.
	ErrOtherDatabase = errors.New("upstream has another database than this replica; to follow it, stop weir and move the replica's database and its .weir folder away")

	// ErrRing says that a replica follows itself, perhaps by way of others. Follow
	// asks again from time to time.
	ErrRing = errors.New("this replica follows itself")

	errNeedDelta = errors.New("upstream cannot lead on from this replica's position")
)

// Follow keeps r up to date with the database that the server at base serves
// under path, until ctx ends; it returns ctx's error, or at once that base is
// no URL. What goes wrong in between is retried, and logged once.
func Follow(ctx context.Context, base, path string, r Replica, opt FollowOptions) error {
	u, err := streamURL(base)
	if err != nil {
		return err
	}
	opt = opt.withDefaults("upstream", base, "upstream-path", path)
	f := &following{url: u, path: path, r: r, opt: opt}
	defer f.closeIdle()
	return f.run(ctx)
}

func streamURL(base string) (*url.URL, error) {
	u, err := upstreamURL(base)
	if err != nil {
		return nil, err
	}
	return u.JoinPath("stream"), nil
}

func upstreamURL(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("upstream %q is not of the form http://host:port", base)
	}
	return u, nil
}

// sendBuffer is how much the kernel may hold of what a follower sends, in bytes: so little that the upstream has it
// within sumsTimeouts at 64 kbit/s. Left to itself, the kernel takes some MiB.
const sendBuffer = 64 << 10

// streamBuffer is how much of a stream is read at a time, in bytes.
const streamBuffer = 64 << 10

func newClient(timeout time.Duration, conf *tls.Config) *http.Client {
	dialer := net.Dialer{Timeout: timeout}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetWriteBuffer(sendBuffer) // as good as it gets
		}
		return c, err
	}
	return &http.Client{CheckRedirect: stayWithToken, Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       conf,
		DialContext:           dial,
		TLSHandshakeTimeout:   timeout,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		ReadBufferSize:        streamBuffer,
	}}
}

// want is how a session starts.
type want int

const (
	wantResume want = iota // at the replica's position
	wantDelta              // by page checksums
	wantAll                // every page: a delta did not lead to the right state
)

// following is Follow's state from one session to the next.
type following struct {
	url  *url.URL
	path string
	r    Replica
	opt  FollowOptions

	client *http.Client // for tls, nil before the first session; not used where opt has one
	tls    *tls.Config

	want    want
	up      bool          // progress was made since the last error
	logged  string        // the last error logged
	backoff time.Duration // before the next session
}

func (f *following) run(ctx context.Context) error {
	for {
		err := f.session(ctx)
		if ctx.Err() != nil {
			f.r.SetConnected(false, nil)
			return ctx.Err()
		}
		f.r.SetConnected(false, err)
		f.log(err)
		if f.next(err) {
			continue
		}
		if err := f.pause(ctx); err != nil {
			return err
		}
	}
}

// next chooses how the next session starts, and whether that is at once.
func (f *following) next(err error) (now bool) {
	switch {
	case errors.Is(err, ErrOtherDatabase), errors.Is(err, ErrRing):
		f.backoff = f.opt.MaxBackoff
	case f.want == wantResume && (expected(err) || doubtful(err)):
		f.want = wantDelta
		return true
	case f.want == wantDelta && doubtful(err):
		f.want = wantAll
	}
	return false
}

// expected tells whether err only says that transactions alone do not lead to
// the upstream's state.
func expected(err error) bool {
	return errors.Is(err, errNeedDelta) || !errors.Is(err, errConn) && errors.Is(err, ErrPageSize)
}

// doubtful tells whether err puts the replica's own state in doubt.
func doubtful(err error) bool {
	return !errors.Is(err, errConn) && (errors.Is(err, ErrPosMismatch) || errors.Is(err, ErrCorrupt))
}

// log says what ended a session, once.
func (f *following) log(err error) {
	if f.want == wantResume && expected(err) {
		f.opt.Logger.Info("asking for the pages that differ", "reason", err)
		return
	}
	if text := err.Error(); f.up || text != f.logged {
		f.opt.Logger.Warn("disconnected", "err", err)
		f.up, f.logged = false, text
	}
}

// progress notes that the replica is at the upstream's position, or nearer.
func (f *following) progress() {
	f.want, f.backoff = wantResume, 0
	if !f.up {
		_, pos := f.r.Pos()
		f.opt.Logger.Info("following", "pos", pos)
		f.up = true
	}
}

// pause waits before the next session: twice as long as before it, and by
// chance up to half of that less, so that replicas don't come all at once.
func (f *following) pause(ctx context.Context) error {
	f.backoff = min(max(2*f.backoff, f.opt.MinBackoff), f.opt.MaxBackoff)
	t := time.NewTimer(f.backoff - rand.N(f.backoff/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// request makes the request that starts a session.
func (f *following) request(ctx context.Context, w want) (*http.Request, Pos, error) {
	id, pos := f.r.Pos()
	sums := f.r.Sums()
	q := url.Values{"path": {f.path}}
	if name := cleanName(f.opt.Name); name != "" {
		q.Set(nameParam, name)
	}
	if pos != (Pos{}) {
		q.Set("at", pos.String())
	}
	method, body := http.MethodGet, (*Sums)(nil)
	switch {
	case sums == nil && pos == Pos{}: // nothing yet: any database will do
	case w == wantResume && pos != Pos{}:
		q.Set("id", id)
		q.Set("pos", pos.String())
	case w == wantAll || sums == nil:
		q.Set("id", id)
		pos = Pos{}
	default:
		q.Set("id", id)
		method, body, pos = http.MethodPost, sums, Pos{}
	}
	u := *f.url
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, pos, err
	}
	f.opt.Credentials.authorize(req)
	if body == nil {
		return req, pos, nil
	}
	req.ContentLength = body.encodedLen()
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(&sumsReader{s: body}), nil }
	req.Body, _ = req.GetBody()
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Expect", "100-continue") // a refusal comes before the checksums go
	return req, pos, nil
}

// refused makes an error of an answer that is no stream.
func refused(resp *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	text := strings.TrimSpace(string(b))
	if resp.StatusCode == http.StatusConflict {
		switch resp.Header.Get(conflictHeader) {
		case conflictPosition:
			return fmt.Errorf("%w: %s", errNeedDelta, text)
		case conflictDatabase:
			return fmt.Errorf("%w (%s)", ErrOtherDatabase, text)
		}
	}
	if err := turnedAway(resp, text); err != nil {
		return err
	}
	return fmt.Errorf("upstream answers %s: %s", resp.Status, text)
}
