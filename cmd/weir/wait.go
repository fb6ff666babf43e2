package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir/stream"
)

const waitHelp = `usage: weir wait [-addr HOST:PORT] -db PATH -txid TXID | -now [-timeout TIME]

Waits until the database at PATH has a transaction, and prints its position then. What an application has committed on the
primary is then there to be read: with -now, everything that was committed before weir wait began.

  -db PATH           the database, a replica or a primary
  -addr HOST:PORT    ask the weir that serves there (default: the one that has PATH mounted on this machine)
  -txid TXID         this transaction, 16 hex digits
  -now               what the primary has now; the replica's weir asks it by way of its upstream
  -timeout TIME      give up after this time (default: 30s)

The exit code is 3 where the time is up, 1 where it can't be told. GET /wait?path=PATH&txid=TXID&timeout=TIME, or now=1,
does the same over HTTP; its status is 504 where the time is up.

examples:
  weir wait -db /data/db -now -timeout 5s && report
  weir wait -db /data/db -txid 00000000000004d2
`

// waitFlags are the flags of weir wait.
type waitFlags struct {
	of      target
	txid    stream.TXID
	now     bool
	timeout time.Duration
}

func parseWaitFlags(args []string, std stdio) (*waitFlags, error) {
	f := new(waitFlags)
	set := newFlagSet("wait")
	set.StringVar(&f.of.db, "db", "", "")
	set.StringVar(&f.of.addr, "addr", "", "")
	set.Func("txid", "", func(s string) (err error) { f.txid, err = parseTXID(s); return err })
	set.BoolVar(&f.now, "now", false, "")
	set.DurationVar(&f.timeout, "timeout", 30*time.Second, "")
	if err := parseFlags(set, args, waitHelp, std); err != nil {
		return nil, err
	}
	switch {
	case set.NArg() > 0:
		return nil, usagef("wait takes no arguments, got %q: name the database with -db", set.Arg(0))
	case f.of.db == "":
		return nil, usagef("give the database with -db")
	case f.now == (f.txid != 0):
		return nil, usagef("give either -txid or -now")
	case f.timeout <= 0:
		return nil, usagef("-timeout is %v: give a positive time, as in 10s", f.timeout)
	}
	return f, f.of.check()
}

func runWait(ctx context.Context, args []string, std stdio) error {
	f, err := parseWaitFlags(args, std)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	clients, err := f.of.clients()
	if err != nil {
		return err
	}
	q := url.Values{"path": {f.of.db}, "timeout": {f.timeout.String()}}
	if f.now {
		q.Set("now", "1")
	} else {
		q.Set("txid", f.txid.String())
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout+askTimeout)
	defer cancel()
	pos, err := clients[0].wait(ctx, q)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.out, pos)
	return nil
}

// wait returns the position that the daemon answers with.
func (c *daemonClient) wait(ctx context.Context, q url.Values) (string, error) {
	resp, err := c.get(ctx, "/wait", q)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusGatewayTimeout:
		return "", exit(exitNot, c.refused(resp))
	default:
		return "", c.refused(resp)
	}
	pos, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return strings.TrimSpace(string(pos)), err
}
