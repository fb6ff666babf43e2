package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir/stream"
)

const statusHelp = `usage: weir status [-db PATH] [-config FILE | -addr ADDR] [-max-lag TIME] [-max-gone TIME] [-json]

Prints the state of each database that weir has mounted, which replicas follow it, and which those. Without flags it asks
every weir that runs on this machine (or in this container or pod). Only root, the user that weir runs as, and the owner of the
directory or of a database in it may ask without -addr.

` + targetHelp + `  -max-lag TIME      a replica that is further behind is not healthy (default: 10s)
  -max-gone TIME     a replica that went longer ago was removed on purpose (default: 24h)
  -json              print JSON, as GET /status has it

The exit code is 0 where every database is healthy, 3 where one is not, 1 where weir can't be asked. A database is healthy if
its last error is over; on a replica, if it is published, connected, and not further behind than -max-lag; and if the replicas
that follow it, and theirs, are heard of and not further behind than that. One of them that has gone counts from -max-lag on,
so that it may be restarted, until -max-gone. Weir forgets it after 24h, or when weir itself is restarted; with -max-gone 0s
none counts that has gone.

` + remoteHelp + `
examples:
  weir status
  weir status -db /data/db -max-lag 1s || alert "replica is behind"
  weir status -max-gone 1h >/tmp/status || mail -s "weir: $(hostname)" admin </tmp/status
  WEIR_TOKEN_FILE=/etc/weir/token weir status -addr https://primary:9090 -json
`

func runStatus(ctx context.Context, args []string, std stdio) error {
	var of target
	set := newFlagSet("status")
	of.flags(set)
	var max limits
	set.DurationVar(&max.lag, "max-lag", defaultMaxLag, "")
	set.DurationVar(&max.gone, "max-gone", defaultMaxGone, "")
	asJSON := set.Bool("json", false, "")
	if err := parseFlags(set, args, statusHelp, std); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return usagef("status takes no arguments, got %q: name a database with -db", set.Arg(0))
	}
	all, err := of.statuses(ctx)
	if len(all) == 0 {
		return err
	}
	if *asJSON {
		err = errors.Join(err, printStatusJSON(std, all))
	} else {
		err = errors.Join(err, printStatuses(std.out, all, max))
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(s stream.Status) bool { return unhealthy(s, max) != "" }) {
		return &exitError{exitNot, nil}
	}
	return nil
}

// askTimeout bounds how long a daemon may take to say how it is.
const askTimeout = 5 * time.Second

// statuses asks for the state of each database that the flags name, by path. There may be some, and an error.
func (t *target) statuses(ctx context.Context) (all []stream.Status, err error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	clients, err := t.clients()
	if err != nil {
		return nil, err
	}
	answers, err := askAll(ctx, clients)
	for _, s := range answers { // a daemon has a socket for each directory, and tells of all
		known := slices.ContainsFunc(all, func(have stream.Status) bool { return have.Path == s.Path })
		if !known && (t.db == "" || t.db == s.Path) {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil, t.nothing(err)
	}
	slices.SortFunc(all, func(a, b stream.Status) int { return strings.Compare(a.Path, b.Path) })
	return all, err
}

// askAll asks all at once: one that hangs does not hide the others.
func askAll(ctx context.Context, clients []*daemonClient) (all []stream.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers, errs := make([][]stream.Status, len(clients)), make([]error, len(clients))
	var asking sync.WaitGroup
	for i, c := range clients {
		asking.Go(func() { errs[i] = c.getJSON(ctx, "/status", nil, &answers[i]) })
	}
	asking.Wait()
	for i := range errs {
		if len(clients) > 1 && errors.Is(errs[i], syscall.ECONNREFUSED) {
			errs[i] = nil // it has just ended
		}
	}
	return slices.Concat(answers...), errors.Join(errs...)
}

// nothing says why there is no status.
func (t *target) nothing(err error) error {
	if err == nil && t.db != "" {
		err = hint(fmt.Errorf("weir does not know %s", t.db), "run \"weir status\" for the databases that it has")
	} else if err == nil {
		err = errors.New("weir has no database")
	}
	return err
}

func printStatusJSON(std stdio, all []stream.Status) error {
	b, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		_, err = std.out.Write(append(b, '\n'))
	}
	return err
}
