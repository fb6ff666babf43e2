package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// ErrOtherDirectory says that the upstream's directory is not the one of which the replica has databases. None of them is
// taken away.
var ErrOtherDirectory = errors.New("upstream has another directory than this replica; to follow it, stop weir and move the databases and the .weir folder of the replica's directory away")

// Lister is what [FollowList] feeds. Its methods are called by one goroutine.
type Lister interface {
	// Listed tells what the upstream has. An error says that it was not all taken over; it is told again later.
	Listed(ctx context.Context, l List) error

	// SetConnected tells that the upstream answers, or why it does not.
	SetConnected(bool, error)
}

// FollowList tells to of the databases below dir of the server at base, and of each change, until ctx ends; it returns
// ctx's error, or at once that base is no URL. What goes wrong in between is retried, and logged once.
func FollowList(ctx context.Context, base, dir string, to Lister, opt FollowOptions) error {
	u, err := upstreamURL(base)
	if err != nil {
		return err
	}
	opt = opt.withDefaults("upstream", base, "upstream-dir", dir)
	f := &listing{following: following{url: u.JoinPath("list"), path: dir, opt: opt}, to: to}
	defer f.closeIdle()
	return f.run(ctx)
}

// listing is FollowList's state. Of following it uses what concerns the connection.
type listing struct {
	following
	to   Lister
	have string // the hash of what to was told
}

func (f *listing) run(ctx context.Context) error {
	for {
		connected, err := f.ask(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.to.SetConnected(connected, err)
		if err == nil {
			f.backoff, f.logged = 0, ""
			continue
		}
		if text := err.Error(); text != f.logged {
			f.opt.Logger.Warn("can't follow the upstream's directory", "err", err)
			f.logged = text
		}
		if err := f.pause(ctx); err != nil {
			return err
		}
	}
}

// ask asks once, and has the answer taken over. The upstream answers when it has another list, or in time to show that it
// is there.
func (f *listing) ask(ctx context.Context) (connected bool, err error) {
	l, err := f.get(ctx)
	if err != nil || l.Hash == f.have {
		return err == nil, err
	}
	f.have = ""
	if err := f.to.Listed(ctx, l); err != nil {
		return true, err
	}
	f.have = l.Hash
	return true, nil
}

func (f *listing) get(ctx context.Context) (l List, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*f.opt.Timeout)
	defer cancel()
	u := *f.url
	u.RawQuery = url.Values{"dir": {f.path}, "have": {f.have}, "wait": {f.opt.Timeout.String()}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return l, err
	}
	f.opt.Credentials.authorize(req)
	resp, err := f.httpClient().Do(req)
	if err != nil {
		return l, explainDo(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return l, refused(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxListBytes)).Decode(&l); err != nil {
		return l, fmt.Errorf("the upstream's list of databases: %w", err)
	}
	return l, l.validate()
}
