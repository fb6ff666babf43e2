package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"weir/stream"
	"weir/stream/backup"
)

const logHelp = `usage: weir log [-json] DB|URL|DIR
       weir log -o DIR [-compact] [-snapshot] DB|URL

Lists the transactions that a database's log has: of a database that weir has mounted here, of one that it had (then from
the files beside it), of any weir by URL with the database's path after it, or of a directory of LTX files. For each: its
TXID, when it was committed, the pages in it, its size in bytes, the size of the database after it in pages, and the rolling
checksum of all pages after it. Each is verified.

With -o the transactions are exported as LTX files (MINTXID-MAXTXID.ltx), which the ltx tool and, in a directory BACKUP/ltx/0,
Litestream read. What DIR has already is left out, so that it can be run again and again. The first file has the whole
database; so has a later one where the log does not lead on from what DIR has. weir restore builds the database from DIR.

  -json       print a JSON object a line
  -o DIR      export to this directory
  -compact    all new transactions in one file
  -snapshot   begin with the whole database anyhow; the files before it can be removed

examples:
  weir log /data/db
  weir log -o /backup/db /data/db
  weir log -o /backup/ltx/0 /data/db && litestream restore -o copy.db file:///backup
`

// logFlags are the flags of weir log.
type logFlags struct {
	json, compact, snapshot bool
	dir                     string
}

func runLog(ctx context.Context, args []string, std stdio) error {
	var f logFlags
	set := newFlagSet("log")
	set.BoolVar(&f.json, "json", false, "")
	set.BoolVar(&f.compact, "compact", false, "")
	set.BoolVar(&f.snapshot, "snapshot", false, "")
	set.StringVar(&f.dir, "o", "", "")
	if err := parseFlags(set, args, logHelp, std); err != nil {
		return err
	}
	switch {
	case set.NArg() != 1:
		return usagef("give one database, URL or directory, got %d", set.NArg())
	case f.dir == "" && (f.compact || f.snapshot):
		return usagef("-compact and -snapshot are for an export: give a directory with -o")
	case f.dir != "" && f.json:
		return usagef("-json is for a list: leave it or -o out")
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	src, err := findLog(ctx, set.Arg(0))
	switch {
	case err != nil:
	case f.dir == "":
		err = listLog(ctx, src, f.json, std.out)
	case src.dir != "":
		return usagef("%s is a directory: give a database or URL to export", src.dir)
	default:
		err = f.export(ctx, src, std)
	}
	return logHint(err)
}

func listLog(ctx context.Context, src logSource, asJSON bool, out io.Writer) error {
	l, err := src.open(ctx, stream.Pos{})
	if err != nil {
		return err
	}
	defer l.Close()
	w := bufio.NewWriter(out)
	line := printTxn
	if asJSON {
		line = printTxnJSON
	} else {
		fmt.Fprintf(w, "%-33s  %-24s  %7s  %9s  %9s  %s\n", "TXID", "TIME", "PAGES", "BYTES", "DB PAGES", "CHECKSUM")
	}
	err = errors.Join(backup.List(ctx, l, func(t backup.Txn) error { return line(w, t) }), w.Flush())
	if errors.Is(err, syscall.EPIPE) {
		return nil // who reads has seen enough
	}
	return err
}

// timeFormat is the time of transactions, always as long.
const timeFormat = "2006-01-02T15:04:05.000Z"

func printTxn(w io.Writer, t backup.Txn) error {
	id := t.Max.String()
	if t.Min != t.Max {
		id = t.Min.String() + "-" + id
	}
	_, err := fmt.Fprintf(w, "%-33s  %s  %7d  %9d  %9d  %s\n", id, t.Time.UTC().Format(timeFormat), t.Pages, t.Bytes, t.Size, t.Post)
	return err
}

// txnJSON is a transaction as -json prints it.
type txnJSON struct {
	Min      string `json:"minTXID"`
	Max      string `json:"maxTXID"`
	Time     string `json:"time"`
	Pages    int    `json:"pages"`
	Bytes    int64  `json:"bytes"`
	Size     uint32 `json:"dbPages"`
	PageSize uint32 `json:"pageSize"`
	Pre      string `json:"preChecksum"`
	Post     string `json:"postChecksum"`
}

func printTxnJSON(w io.Writer, t backup.Txn) error {
	return json.NewEncoder(w).Encode(txnJSON{
		t.Min.String(), t.Max.String(), t.Time.UTC().Format(timeFormat), t.Pages, t.Bytes, t.Size, t.PageSize, t.Pre.String(), t.Post.String(),
	})
}

func (f logFlags) export(ctx context.Context, src logSource, std stdio) error {
	began, bar := time.Now(), newProgress(std)
	e := &backup.Export{
		Dir: f.dir, Compact: f.compact, Snapshot: f.snapshot,
		Log:      func(after stream.Pos) (backup.Log, error) { return src.open(ctx, after) },
		Copy:     func(f *os.File) (stream.SnapshotHeader, error) { return src.copy(ctx, f, bar.set) },
		Progress: bar.set,
	}
	done, err := e.Run(ctx)
	bar.clear()
	if err != nil {
		return err
	}
	what := "transactions"
	if done.Snapshot {
		what = "the whole database, and transactions"
	}
	fmt.Fprintf(std.err, "%s: %s in %s new files, up to %s, in %s\n", f.dir, what, thousands(int64(done.Files)), done.Pos, time.Since(began).Round(time.Millisecond))
	return nil
}
