package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// minLagTime is what it takes on a busy machine to write some rows.
const minLagTime = time.Second

// lagName is the measurement of how far the replica is behind.
const lagName = "lag"

// benchLag is how long after a commit on the primary returned a reader on the replica had the row. Both are on this
// machine, with one clock.
type benchLag struct {
	Every  time.Duration `json:"every"` // nanoseconds from one row to the next
	Rows   int           `json:"rows"`
	Median time.Duration `json:"median"` // nanoseconds
	P99    time.Duration `json:"p99"`    // nanoseconds
	Max    time.Duration `json:"max"`    // nanoseconds
}

// rowTimes are, by row and from the beginning of its INSERT, when that returned and when a reader saw the row.
type rowTimes struct{ wrote, saw map[int64]time.Duration }

func (t *rowTimes) lag(every time.Duration) *benchLag {
	var lags []time.Duration
	for id, wrote := range t.wrote {
		lags = append(lags, max(0, t.saw[id]-wrote))
	}
	return &benchLag{Every: every, Rows: len(lags), Median: quantile(lags, 0.5), P99: quantile(lags, 0.99), Max: quantile(lags, 1)}
}

// lagPauses are between two rows: of 100 transactions a second or a little less, and of as many as weir demo writes.
var lagPauses = []time.Duration{10 * time.Millisecond, demoEvery}

// measureLags measures the lag at each rate.
func (b *bench) measureLags(ctx context.Context) (all []*benchLag, err error) {
	b.bar.Describe(lagName)
	if err := b.follow(ctx, true); err != nil {
		return nil, err
	}
	for _, every := range lagPauses {
		l, err := b.measureLag(ctx, every)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// measureLag writes paced rows on the primary, for as long as a place has turns, and watches them on the replica.
func (b *bench) measureLag(ctx context.Context, every time.Duration) (*benchLag, error) {
	watch, err := startWorker("watch", b.db(benchReplica))
	if err != nil {
		return nil, err
	}
	defer watch.stop()
	length := max(minLagTime, time.Duration(b.rounds)*b.turn)
	write, err := startWorker("write", b.db(benchPrimary), "WAL", every.String(), length.String())
	if err != nil {
		return nil, err
	}
	defer write.stop()
	ctx, cancel := context.WithTimeout(ctx, length+demoPatience)
	defer cancel()
	t := &rowTimes{make(map[int64]time.Duration), make(map[int64]time.Duration)}
	for write.beats != nil || len(t.saw) < len(t.wrote) {
		if err := t.step(ctx, write, watch); err != nil {
			return nil, fmt.Errorf("%s: %d rows written, %d seen: %w\n%s", lagName, len(t.wrote), len(t.saw), err, b.replica.log())
		}
	}
	return t.lag(every), nil
}

// step takes one row, written or seen.
func (t *rowTimes) step(ctx context.Context, write, watch *worker) error {
	select {
	case row, ok := <-write.beats:
		if !ok {
			write.beats = nil
			return write.failure()
		}
		t.wrote[row.ID] = row.Spent
	case row, ok := <-watch.beats:
		if !ok {
			return fmt.Errorf("the reader ended: %w", watch.failure())
		}
		t.saw[row.ID] = row.Spent
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// printLags prints a line for each rate.
func printLags(out io.Writer, all []*benchLag) error {
	for _, l := range all {
		_, err := fmt.Fprintf(out, "from a commit on the primary to a reader on the replica, a row every %v: median %s, p99 %s, max %s (%s rows)\n",
			l.Every, milliseconds(l.Median), milliseconds(l.P99), milliseconds(l.Max), thousands(int64(l.Rows)))
		if err != nil {
			return err
		}
	}
	return nil
}
