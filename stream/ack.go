package stream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// streamHeader names a stream, for acknowledgements of it.
const streamHeader = "Weir-Stream"

// ackIdle is how often an ack is repeated that says nothing new.
const ackIdle = 5 * time.Second

// acks tells the upstream, beside the stream, how far a replica is. Nothing depends on it but what the upstream's /status
// says: an ack that fails is not sent again.
type acks struct {
	f      *following
	client *http.Client // the session's
	token  string
	next   chan ackOf // of one: the newest that is to be sent
	done   sync.WaitGroup

	last   Pos       // sent. Of the session's goroutine.
	lastAt time.Time // when
}

// ackOf is a replica's position when a heartbeat came, and who followed it.
type ackOf struct {
	pos   Pos
	beat  Heartbeat
	below Followers
}

// startAcks starts to acknowledge, until ctx ends. It returns nil where the upstream takes no acks.
func (f *following) startAcks(ctx context.Context, client *http.Client, resp *http.Response) *acks {
	token := resp.Header.Get(streamHeader)
	if token == "" {
		return nil
	}
	a := &acks{f: f, client: client, token: token, next: make(chan ackOf, 1)}
	a.done.Go(func() { a.run(ctx) })
	return a
}

// wait waits for the end, where ctx has ended.
func (a *acks) wait() {
	if a != nil {
		a.done.Wait()
	}
}

// offer has an ack be sent, if it may say something new or the last one was long ago. It does not wait.
func (a *acks) offer(pos Pos, h Heartbeat) {
	if a == nil || pos == (Pos{}) {
		return
	}
	below := a.f.opt.Followers()
	if pos == a.last && len(below.Streams) == 0 && time.Since(a.lastAt) < ackIdle {
		return
	}
	select {
	case <-a.next: // it was not sent yet
	default:
	}
	a.next <- ackOf{pos, h, below}
	a.last, a.lastAt = pos, time.Now()
}

func (a *acks) run(ctx context.Context) {
	for {
		select {
		case next := <-a.next:
			a.send(ctx, next)
		case <-ctx.Done():
			return
		}
	}
}

func (a *acks) send(ctx context.Context, o ackOf) {
	ctx, cancel := context.WithTimeout(ctx, a.f.opt.Timeout)
	defer cancel()
	u := *a.f.url
	u.Path += "/ack"
	u.RawQuery = url.Values{
		"path": {a.f.path}, "stream": {a.token}, "pos": {o.pos.String()},
		"of": {strconv.FormatUint(uint64(o.beat.Pos.TXID), 10)}, "at": {strconv.FormatInt(o.beat.At.UnixNano(), 10)},
	}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(o.below.encode()))
	if err != nil {
		return
	}
	a.f.opt.Credentials.authorize(req)
	began := time.Now()
	resp, err := a.client.Do(req)
	if err != nil {
		return
	}
	if s, ok := parseStanding(resp.Header.Get(standingHeader)); ok {
		a.f.r.Told(s, began)
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10)) // so that the connection is used again
	resp.Body.Close()
}
