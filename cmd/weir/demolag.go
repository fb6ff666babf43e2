package main

import (
	"context"
	"fmt"
	"time"
)

// lags are the measurements in one journal mode.
type lags struct {
	commit []time.Duration // what an INSERT took on the primary
	seen   []time.Duration // from the start of an INSERT until a reader on the replica had the row
}

// writeInAllModes writes rows in each journal mode and prints how far the replica was behind.
func (d *demo) writeInAllModes(ctx context.Context, length time.Duration) error {
	d.show.line("\n%s", d.show.paint(dim, "  journal     rows    commit on the primary    seen on the replica after the INSERT began\n"+
		"  mode                     median        p99      median        p99        max"))
	for _, mode := range demoModes {
		l, err := d.writeIn(ctx, mode, length)
		if err != nil {
			return fmt.Errorf("journal mode %s: %w", mode, err)
		}
		d.show.line("  %-8s %7s %12s %10s %11s %10s %10s", mode, thousands(int64(len(l.commit))),
			milliseconds(quantile(l.commit, 0.5)), milliseconds(quantile(l.commit, 0.99)),
			milliseconds(quantile(l.seen, 0.5)), milliseconds(quantile(l.seen, 0.99)), milliseconds(quantile(l.seen, 1)))
	}
	d.show.line("")
	return nil
}

// writeIn writes in one journal mode until the time is over and the replica has every row.
func (d *demo) writeIn(ctx context.Context, mode string, length time.Duration) (*lags, error) {
	w, err := startWorker("write", d.primary.db, mode, demoEvery.String(), length.String())
	if err != nil {
		return nil, err
	}
	defer w.stop()
	l := new(lags)
	for w.beats != nil {
		if err := d.step(ctx, w, l, mode); err != nil {
			return nil, err
		}
	}
	giveUp := time.Now().Add(demoPatience)
	for d.saw.ID < d.wrote.ID {
		if err := d.step(ctx, w, l, mode); err != nil {
			return nil, err
		}
		if time.Now().After(giveUp) {
			return nil, fmt.Errorf("the replica has row %d, the primary %d, and that for %v:\n%s", d.saw.ID, d.wrote.ID, demoPatience, d.replica.log())
		}
	}
	return l, nil
}

// step takes one event: a row written, a row seen, a worker's end, or that nothing happens.
func (d *demo) step(ctx context.Context, w *worker, l *lags, what string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case b, ok := <-w.beats:
		if !ok {
			w.beats = nil // never again: the loop over its rows is done
			return w.failure()
		}
		d.wrote = b
		l.commit = append(l.commit, b.Spent)
	case b, ok := <-d.watch.beats:
		if !ok {
			return fmt.Errorf("the reader on the replica ended: %w", d.watch.failure())
		}
		d.saw = b
		l.seen = append(l.seen, b.Spent)
	case <-time.After(redraw): // so that the last state is drawn, too
	}
	d.show.now("  %-8s row %s on the primary, %s behind on the replica, last lag %s", what,
		thousands(d.wrote.ID), thousands(max(0, d.wrote.ID-d.saw.ID)), milliseconds(d.saw.Spent))
	return nil
}
