package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"weir/stream"
)

const verifyHelp = `usage: weir verify [-addr HOST:PORT] -db PATH

Compares a replica with its upstream while both are in use. All pages are read from the disk on both sides, their checksums
go over the network, and the tables are compared at one transaction: a page that has changed in between is taken from the
log. Behind a chain of replicas, verify each with its own upstream.

  -db PATH           the replica
  -addr HOST:PORT    ask the weir that serves there (default: the one that has PATH mounted on this machine)

The exit code is 0 where all pages are the same, 3 where some differ or one is damaged on the disk, 1 where that can't be
told. GET /verify?path=PATH does the same over HTTP, as JSON, a line each.

example:
  weir verify -db /data/db || alert "the replica is not what its upstream is"
`

func runVerify(ctx context.Context, args []string, std stdio) error {
	var of target
	set := newFlagSet("verify")
	set.StringVar(&of.db, "db", "", "")
	set.StringVar(&of.addr, "addr", "", "")
	if err := parseFlags(set, args, verifyHelp, std); err != nil {
		return err
	}
	switch {
	case set.NArg() > 0:
		return usagef("verify takes no arguments, got %q: name the database with -db", set.Arg(0))
	case of.db == "":
		return usagef("give the database with -db")
	}
	if err := of.check(); err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	clients, err := of.clients()
	if err != nil {
		return err
	}
	v, err := clients[0].verify(ctx, of.db, std)
	if err != nil {
		return err
	}
	return reportVerified(of.db, v, std.out)
}

// verify returns the last line of the daemon's answer.
func (c *daemonClient) verify(ctx context.Context, path string, std stdio) (v stream.Verification, err error) {
	resp, err := c.get(ctx, "/verify", url.Values{"path": {path}})
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, c.refused(resp)
	}
	bar := newProgress(std)
	defer bar.clear()
	for dec := json.NewDecoder(resp.Body); ; {
		v = stream.Verification{}
		if err := dec.Decode(&v); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return v, fmt.Errorf("weir at %s ended the verification: %w", c.at, err)
		}
		if v.Reading == "" {
			return v, nil
		}
		done, of := uint64(v.Done), 2*uint64(v.Of) // the same again is to be read on the other side
		if v.Reading == "upstream" {
			done += uint64(v.Of)
		}
		bar.set(done, of)
	}
}

// reportVerified prints a result; an error where it is not that all is well.
func reportVerified(path string, v stream.Verification, out io.Writer) error {
	switch {
	case v.Damaged:
		return exit(exitNot, fmt.Errorf("verify %s with %s: %s", path, v.Upstream, v.Error))
	case v.Error != "":
		return fmt.Errorf("verify %s with %s: %s", path, v.Upstream, v.Error)
	case v.Differ == 0:
		fmt.Fprintf(out, "%s at %s: %s pages, the same as at %s\n", path, v.Pos, thousands(int64(v.Pages)), v.Upstream)
		return nil
	}
	var pages []string
	for _, pgno := range v.First {
		pages = append(pages, fmt.Sprint(pgno))
	}
	if v.Differ > len(pages) {
		pages = append(pages, "...")
	}
	return exit(exitNot, hint(fmt.Errorf("%s at %s: %s of %s pages differ from those at %s: %s", path, v.Pos, thousands(int64(v.Differ)), thousands(int64(v.Pages)), v.Upstream, strings.Join(pages, " ")),
		"to have them sent again, stop weir on the replica, remove .weir/%s/sums beside the database, and start it", path[strings.LastIndex(path, "/")+1:]))
}
