package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"weir/stream"
)

// printStatuses prints tables for people: the databases, who follows them, and in full what stands in the way.
func printStatuses(out io.Writer, all []stream.Status, max limits) error {
	now := time.Now()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DATABASE\tROLE\tSTATE\tTXID\tSIZE\tLAG\tLOG\tWAL\tUPSTREAM")
	for _, s := range all {
		if s.Role == stream.RoleDirectory {
			fmt.Fprintf(w, "%s\t%s\t%s\t-\t-\t-\t-\t-\t%s\n", s.Path, s.Role, cmp.Or(unhealthy(s, max), "ok"), cmp.Or(s.Upstream, "-"))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.Path, s.Role, stateText(s, max), s.Pos.TXID,
			byteCount(int64(s.Size)*int64(s.PageSize)), ownLag(s), logText(s), walText(s.WAL), cmp.Or(s.Upstream, "-"))
	}
	printFollowers(w, all, now)
	printGone(w, all, now)
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		if s.LastError != "" {
			fmt.Fprintf(out, "\n%s, for %s: %s\n", s.Path, short(now.Sub(s.LastErrorAt)), s.LastError)
		}
	}
	return nil
}

func printFollowers(w io.Writer, all []stream.Status, now time.Time) {
	title := "\nFOLLOWER\tADDRESS\tOF\tTXID\tLAG\tCONNECTED FOR\tHEARD\n"
	eachFollower(all, func(of string, f stream.StreamStatus) {
		txid, heard := f.Pos.TXID.String(), "never"
		if f.Pos == (stream.Pos{}) {
			txid = "snapshot"
		}
		if !f.AckedAt.IsZero() {
			heard = short(now.Sub(f.AckedAt)) + " ago"
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%s\t%s\t%s\n", title, cmp.Or(f.Name, "-"), f.Addr, of, txid, lagText(f.Lag, f.LagTxns, f.Bytes), short(now.Sub(f.Since)), heard)
		title = ""
	})
}

func printGone(w io.Writer, all []stream.Status, now time.Time) {
	title := "\nGONE\tADDRESS\tOF\tTXID\tFOR\tWHY\n"
	print := func(of string, gone []stream.GoneStream) {
		for _, g := range gone {
			fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%s\t%s\n", title, g.Name, g.Addr, of, g.Pos.TXID, short(now.Sub(g.At)), g.Reason)
			title = ""
		}
	}
	for _, s := range all {
		print(s.Path, s.Gone)
	}
	eachFollower(all, func(_ string, f stream.StreamStatus) { print(nameOrAddr(f), f.Gone) })
}

// eachFollower calls f for all who follow, and then who follow them, with whom they follow.
func eachFollower(all []stream.Status, f func(of string, follower stream.StreamStatus)) {
	var each func(of string, streams []stream.StreamStatus)
	each = func(of string, streams []stream.StreamStatus) {
		for _, s := range streams {
			f(of, s)
			each(nameOrAddr(s), s.Streams)
		}
	}
	for _, s := range all {
		each(s.Path, s.Streams)
	}
}

func nameOrAddr(f stream.StreamStatus) string { return cmp.Or(f.Name, f.Addr) }

// stateText says what a database does, or what is not well with it.
func stateText(s stream.Status, max limits) string {
	if s.SnapshotPages > 0 {
		return fmt.Sprintf("receiving, %d %%", 100*uint64(s.SnapshotPage)/uint64(s.SnapshotPages))
	}
	return cmp.Or(unhealthy(s, max), "ok")
}

func ownLag(s stream.Status) string {
	if s.Role == stream.RolePrimary {
		return "-"
	}
	return lagText(s.Lag, s.LagTxns, s.LagBytes)
}

func lagText(lag time.Duration, txns uint64, bytes int64) string {
	if txns == 0 {
		return short(lag)
	}
	return fmt.Sprintf("%s, %d txn, %s", short(lag), txns, byteCount(bytes))
}

func logText(s stream.Status) string {
	if s.LogFirst == 0 {
		return byteCount(s.LogBytes)
	}
	return fmt.Sprintf("%s from TXID %s", byteCount(s.LogBytes), s.LogFirst)
}

func walText(w stream.WALStatus) string {
	switch {
	case w.Bytes == 0:
		return "-"
	case w.Held && w.HeldCommand == "":
		return fmt.Sprintf("%s, held at frame %d of %d", byteCount(w.Bytes), w.HeldFrame, w.Frames)
	case w.Held:
		return fmt.Sprintf("%s, held at frame %d of %d by %s (%d)", byteCount(w.Bytes), w.HeldFrame, w.Frames, w.HeldCommand, w.HeldPID)
	}
	return byteCount(w.Bytes)
}

// short writes a time as people say it, to a millisecond or a second.
func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// byteCount writes n bytes in the largest unit that leaves a number of at least 1.
func byteCount(n int64) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}
