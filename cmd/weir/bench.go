package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
)

const benchHelp = `usage: weir bench [-dir DIR] [-rounds N] [-turn DURATION] [-run TEXT] [-floor] [-passthrough MODE] [-json]

Measures what Weir costs on this machine's disk: real SQLite processes work on a plain directory, on a primary's mount
and on a replica's, turn by turn, and a table shows the medians and their ratio to the plain directory. Inserts are
measured without the replica, which has a machine of its own in production, but for the line that says so. Needs root,
and some 500 MB in DIR, which is left as it was.

Reads beside a writer: in each round the readers on the replica go first, while the primary is written to at full speed;
then come the other places, with as many transactions a second as that were. The second line is what a second of the
readers' own processor time yields, for writer, readers and both Weirs share this machine's processors; the third, what
the writer did. Where the number of transactions a second is in the name, it is the same everywhere.

Catch up: the replica is stopped, the primary is written to at full speed, and the replica is started again. Shown are
the transactions a second that the primary committed meanwhile and that the replica then applied, and the megabytes of
pages in them that it applied a second.

Lag: from when a commit on the primary has returned until a reader on the replica, which looks all the time, has the row.

With -floor a plain FUSE mount is measured, too: go-fuse's loopback file system in a process of its own, with the options
of Weir's mount. Nothing is captured, there is no log, and every file is passed through to the kernel, unless -passthrough
is off. What is lost there, FUSE takes, whatever is done with it. (A point read asks it for the attributes of a database
that is passed through, while the WAL is empty. Weir's mounts are faster there: a primary's database is cached, and a
replica's WAL is not empty.)

  -dir DIR           measure below DIR, on its disk (default: the working directory)
  -rounds N          turns of each place in each measurement (default: 5)
  -turn DURATION     how long a turn takes (default: 1s)
  -run TEXT          only the measurement called TEXT, or else those whose names contain it
  -floor             measure a plain FUSE mount, too
  -passthrough MODE  auto, on or off, as for weir mount (default: auto)
  -json              print every turn, as JSON

examples:
  weir bench
  weir bench -floor -passthrough off
  weir bench -dir /data -run insert -rounds 9
`

// benchFlags are the flags of weir bench.
type benchFlags struct {
	dir, run, passthrough string
	rounds                int
	turn                  time.Duration
	floor, json           bool
}

// bench is one run: mounts and a plain directory beside them.
type bench struct {
	benchFlags
	bar              *progressbar.ProgressBar
	tmp              string // all is in it
	addr             string // of the primary
	primary, replica *demoNode
	nodes            []*demoNode // all, as they were started
	following        bool        // the replica runs
}

func runBench(ctx context.Context, args []string, std stdio) error {
	b, err := parseBenchFlags(args, std)
	if err != nil {
		return err
	}
	plan := planOf(b.run)
	if plan.steps() == 0 {
		return usagef("no measurement has a name that contains %q", b.run)
	}
	if b.floor {
		plan.cases = withFloor(plan.cases)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	b.bar = newBar(std, plan.steps()*b.rounds)
	report, err := b.measureAll(ctx, plan)
	interrupted := ctx.Err() != nil
	stop() // from here a signal ends us, should the clean-up hang
	b.bar.Clear()
	if cleanErr := b.cleanUp(); cleanErr != nil {
		return errors.Join(err, cleanErr)
	}
	if interrupted {
		return exit(killedBy(syscall.SIGINT), nil)
	}
	if err != nil {
		return err
	}
	if b.json {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		return enc.Encode(report)
	}
	return report.print(std.out)
}

func parseBenchFlags(args []string, std stdio) (*bench, error) {
	b := new(bench)
	set := newFlagSet("bench")
	set.StringVar(&b.dir, "dir", ".", "")
	set.StringVar(&b.run, "run", "", "")
	set.StringVar(&b.passthrough, "passthrough", "auto", "")
	set.IntVar(&b.rounds, "rounds", 5, "")
	set.DurationVar(&b.turn, "turn", time.Second, "")
	set.BoolVar(&b.floor, "floor", false, "")
	set.BoolVar(&b.json, "json", false, "")
	if err := parseFlags(set, args, benchHelp, std); err != nil {
		return nil, err
	}
	switch {
	case set.NArg() > 0:
		return nil, usagef("bench takes no arguments, got %q", set.Arg(0))
	case b.rounds < 1:
		return nil, usagef("-rounds is %d: give at least 1", b.rounds)
	case b.turn <= 0:
		return nil, usagef("-turn is %v: give a positive duration, as in 1s", b.turn)
	}
	return b, nil
}

// newBar is a progress bar on standard error, where that is a terminal.
func newBar(std stdio, steps int) *progressbar.ProgressBar {
	return progressbar.NewOptions(steps, progressbar.OptionSetWriter(std.err), progressbar.OptionSetVisibility(isTerminal(std.err)),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false))
}

func (b *bench) measureAll(ctx context.Context, plan benchPlan) (*benchReport, error) {
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	report := new(benchReport)
	for _, c := range plan.cases {
		b.bar.Describe(c.name)
		r, err := b.measure(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		report.Results = append(report.Results, r...)
	}
	for _, a := range plan.absences {
		b.bar.Describe(a.name)
		r, err := b.measureCatchUp(ctx, a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		report.CatchUps = append(report.CatchUps, r)
	}
	if !plan.lag {
		return report, nil
	}
	var err error
	report.Lags, err = b.measureLags(ctx)
	b.bar.Add(b.rounds)
	return report, err
}
