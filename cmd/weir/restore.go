package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/superfly/ltx"

	"weir/stream"
	"weir/stream/backup"
)

const restoreHelp = `usage: weir restore -o FILE [-force] [-txid TXID | -timestamp TIME] DIR|DB|URL

Builds a database as it was after a transaction, or at a time, from the LTX files that weir log -o has exported to DIR. Or
from the log of a database itself, if that still has all its transactions; by default a log keeps a day's. Every state on
the way is compared with its checksum. FILE appears when it is complete.

  -o FILE           the database; "-" is standard output
  -force            replace FILE if it exists
  -txid TXID        the state after this transaction, 16 hex digits as weir log prints it (default: the newest)
  -timestamp TIME   the state at this time, as 2006-01-02T15:04:05Z or 2006-01-02T15:04:05.123+02:00

examples:
  weir restore -o then.db -timestamp 2026-01-31T12:00:00Z /backup/db
  weir restore -o then.db -txid 00000000000004d2 /backup/db
`

// restoreFlags are the flags of weir restore.
type restoreFlags struct {
	file   string
	force  bool
	target backup.Target
	from   string
}

func parseRestoreFlags(args []string, std stdio) (*restoreFlags, error) {
	f := new(restoreFlags)
	set := newFlagSet("restore")
	set.StringVar(&f.file, "o", "", "")
	set.BoolVar(&f.force, "force", false, "")
	set.Func("txid", "", f.setTXID)
	set.Func("timestamp", "", f.setTime)
	if err := parseFlags(set, args, restoreHelp, std); err != nil {
		return nil, err
	}
	switch {
	case set.NArg() != 1:
		return nil, usagef("give one directory, database or URL, got %d", set.NArg())
	case f.file == "":
		return nil, usagef("give the file to restore to with -o")
	case f.target.TXID != 0 && !f.target.Time.IsZero():
		return nil, usagef("-txid and -timestamp exclude each other: leave one out")
	}
	f.from = set.Arg(0)
	return f, nil
}

func (f *restoreFlags) setTXID(s string) (err error) {
	f.target.TXID, err = parseTXID(s)
	return err
}

// parseTXID reads a TXID as it is printed everywhere.
func parseTXID(s string) (stream.TXID, error) {
	id, err := ltx.ParseTXID(s)
	if err != nil || id == 0 {
		return 0, errors.New("give 16 hex digits, as in 00000000000004d2")
	}
	return id, nil
}

func (f *restoreFlags) setTime(s string) (err error) {
	f.target.Time, err = time.Parse(time.RFC3339, s)
	if err != nil || f.target.Time.IsZero() {
		return errors.New("give a time with its zone, as in 2026-01-31T12:00:00Z")
	}
	return nil
}

func runRestore(ctx context.Context, args []string, std stdio) error {
	f, err := parseRestoreFlags(args, std)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	src, err := findLog(ctx, f.from)
	if err != nil {
		return logHint(err)
	}
	out, err := createOutput(f.file, f.force)
	if err != nil {
		return sourceHint(err)
	}
	defer out.Close()
	done, err := f.restore(ctx, src, out, std)
	if err != nil {
		return logHint(err)
	}
	if err := finish(out, f.file, std); err != nil {
		return err
	}
	fmt.Fprintf(std.err, "state %s of %s: %s pages of %d bytes\n", done.Pos, done.Time.UTC().Format(timeFormat), thousands(int64(done.Size)), done.PageSize)
	return nil
}

func (f *restoreFlags) restore(ctx context.Context, src logSource, out *backup.Output, std stdio) (backup.Restored, error) {
	bar := newProgress(std)
	defer bar.clear()
	if src.dir != "" {
		return backup.RestoreDirectory(ctx, src.dir, f.target, out.File, bar.set)
	}
	l, err := src.open(ctx, stream.Pos{})
	if err != nil {
		return backup.Restored{}, err
	}
	defer l.Close()
	return backup.RestoreLog(ctx, l, f.target, out.File, bar.set)
}
