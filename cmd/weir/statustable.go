package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"weir/stream"
)

// printStatuses prints a table for people: a line for each database, and below it what else is to say.
func printStatuses(out io.Writer, all []stream.Status, maxLag time.Duration) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DATABASE\tROLE\tSTATE\tTXID\tLAG\tSIZE")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", s.Path, s.Role, cmp.Or(unhealthy(s, maxLag), "ok"), s.Pos.TXID, lagText(s), byteCount(int64(s.Size)*int64(s.PageSize)))
	}
	return w.Flush()
}

func lagText(s stream.Status) string {
	if s.Role == stream.RolePrimary {
		return "-"
	}
	return milliseconds(s.Lag)
}

// byteCount writes n bytes in the largest unit that leaves a number of at least 1.
func byteCount(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for ; f >= 1024 && i < len(units)-1; i++ {
		f /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
