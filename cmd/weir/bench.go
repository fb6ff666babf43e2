package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
)

const benchHelp = `usage: weir bench [-dir DIR] [-rounds N] [-turn DURATION] [-run TEXT] [-passthrough MODE] [-json]

Measures what Weir costs on this machine's disk: real SQLite processes work on a plain directory, on a primary's mount
and on a replica's, turn by turn, and a table shows the medians and their ratio to the plain directory. Inserts are
measured without the replica, which has a machine of its own in production, but for the line that says so. Needs root,
and some 500 MB in DIR, which is left as it was.

  -dir DIR           measure below DIR, on its disk (default: the working directory)
  -rounds N          turns of each place in each measurement (default: 5)
  -turn DURATION     how long a turn takes (default: 1s)
  -run TEXT          only the measurements whose name contains TEXT
  -passthrough MODE  auto, on or off, as for weir mount (default: auto)
  -json              print every turn, as JSON

examples:
  weir bench
  weir bench -dir /data -run insert -rounds 9
`

// benchFlags are the flags of weir bench.
type benchFlags struct {
	dir, run, passthrough string
	rounds                int
	turn                  time.Duration
	json                  bool
}

// bench is one run: two mounts and a plain directory beside them.
type bench struct {
	benchFlags
	bar              *progressbar.ProgressBar
	tmp              string // all is in it
	primary, replica *demoNode
	following        bool // the replica runs
}

func runBench(ctx context.Context, args []string, std stdio) error {
	b, err := parseBenchFlags(args, std)
	if err != nil {
		return err
	}
	cases := casesNamed(b.run)
	if len(cases) == 0 && !strings.Contains(lagName, b.run) {
		return usagef("no measurement has a name that contains %q", b.run)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	b.bar = newBar(std, len(cases)*b.rounds)
	report, err := b.measureAll(ctx, cases)
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

func (b *bench) measureAll(ctx context.Context, cases []benchCase) (*benchReport, error) {
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	report := new(benchReport)
	for _, c := range cases {
		b.bar.Describe(c.name)
		r, err := b.measure(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		report.Results = append(report.Results, r...)
	}
	var err error
	report.Lag, err = b.measureLag(ctx)
	return report, err
}

// start mounts both, makes the same database on the plain directory and on the primary, and waits for the replica.
func (b *bench) start(ctx context.Context) error {
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return err
	}
	if b.tmp, err = os.MkdirTemp(dir, "weir-bench-"); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(b.tmp, benchBare), 0o755); err != nil {
		return err
	}
	addr, err := freeAddr("127.0.0.1")
	if err != nil {
		return err
	}
	conf := fmt.Sprintf("addr: %q\npassthrough: %s\ndbs:\n  - path: %s\n", addr, b.passthrough, b.db(benchPrimary))
	if b.primary, err = startDemoNode(ctx, b.tmp, benchPrimary, conf); err != nil {
		return err
	}
	conf = fmt.Sprintf("passthrough: %s\ndbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n",
		b.passthrough, b.db(benchReplica), addr, b.db(benchPrimary))
	if b.replica, err = startDemoNode(ctx, b.tmp, benchReplica, conf); err != nil {
		return err
	}
	for _, place := range []string{benchBare, benchPrimary} {
		if err := runJob(ctx, "exec", b.db(place), benchSchema); err != nil {
			return fmt.Errorf("create the %s database: %w", place, err)
		}
	}
	b.following = true
	return b.awaitReplica(ctx)
}

// follow has the replica run and be where the primary is, or not run.
func (b *bench) follow(ctx context.Context, wanted bool) error {
	var err error
	if wanted && !b.following {
		err = b.replica.start(ctx)
	}
	if !wanted && b.following {
		err = b.replica.stop()
	}
	b.following = wanted
	if err != nil || !wanted {
		return err
	}
	return b.awaitReplica(ctx)
}

// awaitReplica waits until the replica has the newest row of the primary.
func (b *bench) awaitReplica(ctx context.Context) error {
	want, err := runBenchWorker(ctx, "newest", b.db(benchPrimary))
	if err != nil {
		return err
	}
	return b.replica.until(ctx, "the primary's last transaction", func() bool {
		got, err := runBenchWorker(ctx, "newest", b.db(benchReplica))
		return err == nil && got.Ops == want.Ops
	})
}

// db is the database in one of the places.
func (b *bench) db(place string) string { return filepath.Join(b.tmp, place, "db") }

func (b *bench) cleanUp() error {
	var errs []error
	for _, n := range []*demoNode{b.replica, b.primary} {
		if n != nil {
			errs = append(errs, n.stop())
		}
	}
	if err := errors.Join(errs...); err != nil || b.tmp == "" {
		return err
	}
	return os.RemoveAll(b.tmp)
}
