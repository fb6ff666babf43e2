package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"weir/stream/backup"
)

const snapshotHelp = `usage: weir snapshot [-o FILE] [-force] DB|URL

Copies a database that weir serves, a primary's or a replica's, while it is in use. The copy is the state of one moment
and an ordinary database file; every page is compared with the checksum of that state. FILE appears when it is complete.

  -o FILE   the copy; "-" is standard output, and the default where that is no terminal
  -force    replace FILE if it exists

` + sourceHelp + `

examples:
  weir snapshot -o copy.db /data/db
  weir snapshot http://primary:9090/data/db | gzip >copy.db.gz
`

func runSnapshot(ctx context.Context, args []string, std stdio) error {
	set := newFlagSet("snapshot")
	file := set.String("o", "", "")
	force := set.Bool("force", false, "")
	if err := parseFlags(set, args, snapshotHelp, std); err != nil {
		return err
	}
	if set.NArg() != 1 {
		return usagef("give one database or URL, got %d", set.NArg())
	}
	if *file == "" {
		if isTerminal(std.out) {
			return usagef("give a file with -o, or direct standard output to one: a database is nothing for a terminal")
		}
		*file = "-"
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	out, err := createOutput(*file, *force)
	if err != nil {
		return sourceHint(err)
	}
	defer out.Close()
	src, err := findSource(ctx, set.Arg(0))
	if err != nil {
		return sourceHint(err)
	}
	began, bar := time.Now(), newProgress(std)
	h, err := backup.Copy(ctx, src.backup(), out.File, bar.set)
	bar.clear()
	if err != nil {
		return sourceHint(err)
	}
	if err := finish(out, *file, std); err != nil {
		return err
	}
	fmt.Fprintf(std.err, "%s at %s: %s pages of %d bytes in %s\n", src.path, h.Pos, thousands(int64(h.Size)), h.PageSize, time.Since(began).Round(time.Millisecond))
	return nil
}

// untilSignal ends a command at the first signal to stop. What it has begun is dropped then.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// createOutput begins the file, or what goes to standard output once it is complete.
func createOutput(file string, force bool) (*backup.Output, error) {
	if file == "-" {
		return backup.Temporary()
	}
	return backup.Create(file, force)
}

// finish makes the output what was asked for.
func finish(out *backup.Output, file string, std stdio) error {
	if file != "-" {
		return sourceHint(out.Commit())
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(std.out, out.File)
	if errors.Is(err, syscall.EPIPE) {
		return errors.New("standard output was closed before all of the database was written")
	}
	return err
}
