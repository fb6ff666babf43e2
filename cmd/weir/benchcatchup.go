package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/superfly/ltx"

	"weir/stream"
	"weir/stream/backup"
)

// absence is a measurement: a replica that was away while transactions were written catches up.
type absence struct {
	name    string
	written inserts
}

func absences() (all []absence) {
	for _, i := range inserted {
		all = append(all, absence{"catch up, " + i.String(), i})
	}
	return all
}

// benchCatchUp is how fast a replica that was away caught up.
type benchCatchUp struct {
	Name   string        `json:"name"`
	Rounds []absenceTurn `json:"rounds"`
	Median absenceRate   `json:"median"`
}

// absenceTurn is one round.
type absenceTurn struct {
	absenceRate
	Transactions int64         `json:"transactions"`
	Bytes        int64         `json:"bytes"` // of their pages
	Spent        time.Duration `json:"spent"` // nanoseconds
}

type absenceRate struct {
	Commits float64 `json:"commits"` // transactions a second that the primary committed, with no replica
	Applies float64 `json:"applies"` // transactions a second that the replica then applied
	Ratio   float64 `json:"ratio"`   // of the two
	Pages   float64 `json:"pages"`   // bytes of pages a second that it applied
}

func (b *bench) measureCatchUp(ctx context.Context, a absence) (*benchCatchUp, error) {
	c := &benchCatchUp{Name: a.name}
	for range b.rounds {
		r, err := b.takeAbsence(ctx, a)
		if err != nil {
			return nil, err
		}
		c.Rounds = append(c.Rounds, r)
		b.bar.Add(1)
	}
	c.Median = absenceRate{
		c.median(func(r absenceTurn) float64 { return r.Commits }), c.median(func(r absenceTurn) float64 { return r.Applies }),
		c.median(func(r absenceTurn) float64 { return r.Ratio }), c.median(func(r absenceTurn) float64 { return r.Pages }),
	}
	return c, nil
}

func (c *benchCatchUp) median(value func(absenceTurn) float64) float64 {
	var values []float64
	for _, r := range c.Rounds {
		values = append(values, value(r))
	}
	return median(values)
}

// takeAbsence writes while the replica is away, and has it catch up.
func (b *bench) takeAbsence(ctx context.Context, a absence) (c absenceTurn, err error) {
	if err := b.setMode(ctx, benchPrimary, a.written.mode); err != nil {
		return c, err
	}
	for _, alone := range []bool{false, true} { // it has all, and goes
		if err := b.settle(ctx, alone); err != nil {
			return c, err
		}
	}
	before, err := readPos(b.db(benchPrimary))
	if err != nil {
		return c, err
	}
	length := max(minAbsence, b.turn)
	wrote, err := runBenchWorker(ctx, append(append([]string{"insert", b.db(benchPrimary)}, a.written.args(0)...), length.String())...)
	if err != nil {
		return c, err
	}
	to, err := readPos(b.db(benchPrimary))
	if err != nil {
		return c, err
	}
	from, spent, err := b.catchUp(ctx, before, to)
	if err != nil {
		return c, err
	}
	c = absenceTurn{Transactions: int64(to.TXID - from.TXID), Spent: spent}
	if c.Bytes, err = b.bytesBetween(ctx, from, to); err != nil {
		return c, err
	}
	c.Commits, c.Applies, c.Pages = wrote.rate(), float64(c.Transactions)/spent.Seconds(), float64(c.Bytes)/spent.Seconds()
	c.Ratio = c.Applies / c.Commits
	return c, nil
}

// minAbsence is what it takes to write so much that the replica is seen to catch up.
const minAbsence = time.Second

// catchUp starts the replica, which has all up to before, and waits until its readers have all up to a position. The time
// counts from when they had from, which is shown to them once the upstream has answered; where that is all already, from
// the mount.
func (b *bench) catchUp(ctx context.Context, before, to stream.Pos) (from stream.Pos, spent time.Duration, err error) {
	if err := b.replica.start(ctx); err != nil {
		return from, 0, err
	}
	b.following = true
	start := time.Now()
	if err := b.replica.until(ctx, "its first position", func() bool {
		from, err = readPos(b.db(benchReplica))
		return err == nil && from != stream.Pos{}
	}); err != nil {
		return from, 0, err
	}
	if from.TXID >= to.TXID {
		return before, time.Since(start), nil
	}
	start = time.Now()
	err = b.replica.until(ctx, "the primary's last transaction", func() bool {
		at, err := readPos(b.db(benchReplica))
		return err == nil && at.TXID >= to.TXID
	})
	return from, time.Since(start), err
}

// readPos is the position of a mounted database.
func readPos(db string) (stream.Pos, error) {
	text, err := os.ReadFile(db + "-pos")
	if err != nil {
		return stream.Pos{}, err
	}
	return ltx.ParsePos(strings.TrimSpace(string(text)))
}

// bytesBetween is how much the pages are of the transactions between two positions, before they are compressed.
func (b *bench) bytesBetween(ctx context.Context, from, to stream.Pos) (n int64, err error) {
	log, err := backup.OpenLog(ctx, backup.Source{URL: "http://" + b.addr, Path: b.db(benchPrimary)}, from)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	err = backup.List(ctx, log, func(t backup.Txn) error {
		if t.Max <= to.TXID {
			n += int64(t.Pages) * int64(t.PageSize)
		}
		return nil
	})
	return n, err
}

// printCatchUps prints a line for each.
func printCatchUps(out io.Writer, all []*benchCatchUp) error {
	if len(all) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "a replica that was away\tcommitted\tapplied\tratio\t\tpages\t\t")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t tx/s\t%.1f\t MB/s\t\n", c.Name,
			thousands(int64(c.Median.Commits)), thousands(int64(c.Median.Applies)), c.Median.Ratio, c.Median.Pages/1e6)
	}
	return w.Flush()
}
