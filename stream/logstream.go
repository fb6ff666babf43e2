package stream

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// A LogStream reads the log of a database that a server serves, as far as it is when the stream begins. It is used by
// one goroutine.
type LogStream struct {
	in      recordReader
	dog     *watchdog
	ctx     context.Context // its request's
	cancel  context.CancelCauseFunc
	body    io.Closer
	lineage Lineage
	first   Pos
	last    Pos
	txid    TXID // of the transaction read last
}

// posFirst asks, as pos, for all that the log has.
const posFirst = "first"

// OpenLogStream reads the log of the database that the server at base serves under path, from a position on; with the
// zero Pos, all of it. ErrNotInLog says that the log does not have the position. The zero FollowOptions work.
func OpenLogStream(ctx context.Context, base, path string, from Pos, opt FollowOptions) (*LogStream, error) {
	u, err := streamURL(base)
	if err != nil {
		return nil, err
	}
	q := url.Values{"path": {path}, "pos": {posFirst}}
	if from != (Pos{}) {
		q.Set("pos", from.String())
	}
	u.RawQuery = q.Encode()
	l := new(LogStream)
	if err := l.open(ctx, u.String(), opt); err != nil {
		return nil, err
	}
	h, err := l.hello()
	if err == nil && from != (Pos{}) && h.Pos != from {
		err = fmt.Errorf("stream begins at %s, asked for %s: %w", h.Pos, from, ErrPosMismatch)
	}
	if err != nil {
		err = l.dog.explain(l.ctx, err)
		l.Close()
		return nil, err
	}
	l.lineage, l.first, l.txid = h.Lineage, h.Pos, h.Pos.TXID
	return l, nil
}

// open makes the request.
func (l *LogStream) open(ctx context.Context, target string, opt FollowOptions) error {
	opt.Timeout = cmp.Or(opt.Timeout, 5*time.Second)
	if opt.Client == nil {
		opt.Client = newClient(opt.Timeout, opt.Credentials.tls())
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(l.ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	opt.Credentials.authorize(req)
	l.dog = &watchdog{timeout: opt.Timeout, timer: time.AfterFunc(opt.Timeout, func() { l.cancel(errSilent) })}
	resp, err := opt.Client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = refused(resp)
		resp.Body.Close()
		if errors.Is(err, errNeedDelta) {
			err = fmt.Errorf("%w (%w)", ErrNotInLog, err)
		}
	}
	if err != nil {
		l.dog.timer.Stop()
		err = l.dog.explain(l.ctx, explainDo(err))
		l.cancel(nil)
		return err
	}
	l.body, l.dog.r = resp.Body, resp.Body
	l.in.r = bufio.NewReaderSize(l.dog, streamBuffer)
	return nil
}

// hello reads the records that open the stream: hello, and the beat that says where the log is.
func (l *LogStream) hello() (h hello, err error) {
	b, err := l.short(recordHello)
	if err != nil {
		return h, err
	}
	if h, err = parseHello(b); err != nil {
		return h, err
	}
	if h.pages {
		return h, errors.New("upstream sends pages where its log was asked for: run the same weir on both sides")
	}
	if b, err = l.short(recordBeat); err != nil {
		return h, err
	}
	at, err := parseBeat(b)
	l.last = at.Pos
	return h, err
}

// short reads a record that must be of type t.
func (l *LogStream) short(t recordType) ([]byte, error) {
	got, n, err := l.in.next()
	if err != nil {
		return nil, short(err)
	}
	if got != t {
		return nil, fmt.Errorf("%w: %s where %s is due", ErrCorrupt, got, t)
	}
	return l.in.payload(make([]byte, n), n)
}

// Lineage says whose log it is.
func (l *LogStream) Lineage() Lineage { return l.lineage }

// First is the position before the first transaction that Next returns.
func (l *LogStream) First() Pos { return l.first }

// Last is the position after the last one.
func (l *LogStream) Last() Pos { return l.last }

// Next returns the next transaction's LTX file of n bytes, which can be read until the call after; io.EOF after the
// last.
func (l *LogStream) Next() (payload io.Reader, n int64, err error) {
	for {
		if _, err := io.Copy(io.Discard, &l.in); err != nil { // what the caller has not read
			return nil, 0, l.dog.explain(l.ctx, err)
		}
		if l.txid >= l.last.TXID {
			if err := l.in.end(); err != nil {
				return nil, 0, l.dog.explain(l.ctx, err)
			}
			return nil, 0, io.EOF
		}
		t, n, err := l.in.next()
		switch {
		case err != nil:
			return nil, 0, l.dog.explain(l.ctx, short(err))
		case t == recordTxn:
			l.txid++
			return &l.in, n, nil
		case t != recordBeat:
			return nil, 0, fmt.Errorf("%w: %s record out of place", ErrCorrupt, t)
		}
	}
}

// Close ends the stream.
func (l *LogStream) Close() error {
	l.dog.timer.Stop()
	l.cancel(nil)
	return l.body.Close()
}
