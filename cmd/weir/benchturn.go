package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// turn is what a case's jobs did in one place.
type turn struct {
	rate   float64 // operations a second, of all workers
	cpu    float64 // operations a second of the workers' processor time
	writes float64 // transactions a second of the writer beside them
}

// benchRow is a line of the table, of a case's turns.
type benchRow struct {
	name, unit string
	value      func(turn) float64
}

func (c benchCase) rows() []benchRow {
	rows := []benchRow{{c.name, c.unit, func(t turn) float64 { return t.rate }}}
	if c.writer != nil {
		rows = append(rows, benchRow{"a CPU second of these reads", "rows", func(t turn) float64 { return t.cpu }},
			benchRow{"the writer beside them", "tx/s", func(t turn) float64 { return t.writes }})
	}
	return rows
}

// order is how the places take their turns: where the last sets the pace, it goes first.
func (c benchCase) order() []string {
	places := slices.Clone(c.places)
	if c.writer != nil && c.pace == 0 {
		slices.Reverse(places)
	}
	return places
}

// measure runs a case's rounds. In each round every place has its turn, so that what slows the machine for a while
// slows all of them.
func (b *bench) measure(ctx context.Context, c benchCase) ([]benchResult, error) {
	turns := make(map[string][]turn)
	for range b.rounds {
		pace := c.pace
		for _, place := range c.order() {
			t, err := b.takeTurn(ctx, c, place, pace)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", place, err)
			}
			if pace == 0 {
				pace = t.writes
			}
			turns[place] = append(turns[place], t)
		}
		b.bar.Add(1)
	}
	var results []benchResult
	for _, row := range c.rows() {
		results = append(results, row.results(c.places, turns)...)
	}
	return results, nil
}

// results are the line's values in each place.
func (row benchRow) results(places []string, turns map[string][]turn) []benchResult {
	results := make([]benchResult, len(places))
	for i, place := range places {
		results[i] = benchResult{Name: row.name, Place: place, Unit: row.unit}
		for _, t := range turns[place] {
			results[i].Rates = append(results[i].Rates, row.value(t))
		}
		results[i].compare(results[0])
	}
	return results
}

// settle waits until nothing is left to do of the turn before.
func (b *bench) settle(ctx context.Context, alone bool) error {
	if err := b.follow(ctx, !alone); err != nil {
		return err
	}
	dir, err := os.Open(b.tmp)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}

// takeTurn has the workers of a case do their job in one place, and the writer beside them at a pace.
func (b *bench) takeTurn(ctx context.Context, c benchCase, place string, pace float64) (t turn, err error) {
	if mode := c.mode(); mode != "" {
		if err := b.setMode(ctx, writesFor(place), mode); err != nil {
			return t, err
		}
	}
	if err := b.settle(ctx, c.alone); err != nil {
		return t, err
	}
	jobs := make(chan benchDone)
	start := func(job, place string, args []string) {
		args = append([]string{job, b.db(place)}, append(args, b.turn.String())...)
		go func() {
			w, err := runBenchWorker(ctx, args...)
			jobs <- benchDone{w, err}
		}()
	}
	running := c.workers
	for range c.workers {
		start(c.job, place, slices.Clone(c.args))
	}
	if c.writer != nil {
		running++
		start("insert", writesFor(place), c.writer.args(pace))
	}
	var works []benchWork
	for range running {
		done := <-jobs
		works = append(works, done.benchWork)
		if err == nil {
			err = done.err
		}
	}
	return c.turn(works), err
}

// setMode has a process of its own set the journal mode, as one that ran before: how
// Weir has a database written is decided when it is opened.
func (b *bench) setMode(ctx context.Context, place, mode string) error {
	_, err := runBenchWorker(ctx, "mode", b.db(place), mode)
	return err
}

// turn sums up what the workers of a case did.
func (c benchCase) turn(works []benchWork) (t turn) {
	var ops, cpu float64
	for _, w := range works {
		if w.Job != c.job {
			t.writes += w.rate()
			continue
		}
		t.rate += w.rate()
		ops += float64(w.Ops)
		cpu += w.CPU.Seconds()
	}
	t.cpu = ops / cpu
	return t
}

// writesFor is where the writes are made that readers in place see.
func writesFor(place string) string {
	if place == benchReplica {
		return benchPrimary
	}
	return place
}

// benchDone is how a worker ended.
type benchDone struct {
	benchWork
	err error
}
