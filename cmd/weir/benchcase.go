package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The places where SQLite is measured.
const (
	benchBare    = "bare"
	benchPrimary = "primary"
	benchReplica = "replica"
)

// benchCase is a measurement: jobs of the bench worker in each place in turn.
type benchCase struct {
	name    string
	places  []string // the first is what the others are compared with
	unit    string
	workers int      // at the same time
	job     string   // see runBenchWorkerJob
	args    []string // of the job
	// alone: no replica follows meanwhile. It has a machine of its own elsewhere, and would take its share of this one.
	alone bool
	// writer, a job too, works at the same time: beside readers on the replica it writes on the primary.
	writer []string
}

var (
	writable = []string{benchBare, benchPrimary}
	anywhere = []string{benchBare, benchPrimary, benchReplica}
	followed = []string{benchBare, benchReplica}
)

// benchCases begin with reads, while the databases are small and all the same.
func benchCases() []benchCase {
	var cases []benchCase
	for _, n := range []int{1, 8} {
		for _, job := range []string{"point", "scan"} {
			for _, mmap := range []string{"", "mmap"} {
				name := strings.Join(strings.Fields(fmt.Sprintf("%s reads %s, %d readers", job, mmap, n)), " ")
				cases = append(cases, benchCase{name: strings.Replace(name, " ,", ",", 1), places: anywhere, unit: "rows/s", workers: n, job: job, args: []string{mmap}})
			}
		}
	}
	cases = append(cases, benchCase{name: "point reads beside a writer", places: followed, unit: "rows/s", workers: 1, job: "point", args: []string{""},
		writer: []string{"insert", "WAL", "NORMAL", "1"}})
	cases = append(cases, benchCase{name: "insert, WAL, NORMAL, replica here", places: writable, unit: "tx/s", workers: 1, job: "insert",
		args: []string{"WAL", "NORMAL", "1"}})
	insert := func(mode, synchronous string, rows int) {
		name := fmt.Sprintf("insert, %s, %s", mode, synchronous)
		if rows > 1 {
			name += fmt.Sprintf(", %d rows", rows)
		}
		cases = append(cases, benchCase{name: name, places: writable, unit: "tx/s", workers: 1, job: "insert", args: []string{mode, synchronous, fmt.Sprint(rows)}, alone: true})
	}
	insert("WAL", "NORMAL", 1)
	insert("WAL", "FULL", 1)
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST"} {
		insert(mode, "FULL", 1)
	}
	insert("WAL", "NORMAL", 100)
	insert("DELETE", "FULL", 100)
	return cases
}

// casesNamed are the measurements whose name contains text.
func casesNamed(text string) (cases []benchCase) {
	for _, c := range benchCases() {
		if strings.Contains(c.name, text) {
			cases = append(cases, c)
		}
	}
	return cases
}

// measure runs a case's rounds. In each round every place has its turn, so that what slows the machine for a while
// slows all of them.
func (b *bench) measure(ctx context.Context, c benchCase) ([]benchResult, error) {
	results := make([]benchResult, len(c.places))
	for i, place := range c.places {
		results[i] = benchResult{Name: c.name, Place: place, Unit: c.unit}
	}
	for range b.rounds {
		for i, place := range c.places {
			rate, err := b.takeTurn(ctx, c, place)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", place, err)
			}
			results[i].Rates = append(results[i].Rates, rate)
		}
		b.bar.Add(1)
	}
	for i := range results {
		results[i].compare(results[0])
	}
	return results, nil
}

// settle waits until nothing is left to do of the turn before.
func (b *bench) settle(ctx context.Context, c benchCase) error {
	if err := b.follow(ctx, !c.alone); err != nil {
		return err
	}
	dir, err := os.Open(b.tmp)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}

// takeTurn has the workers of a case do their job in one place, and returns their rates' sum.
func (b *bench) takeTurn(ctx context.Context, c benchCase, place string) (rate float64, err error) {
	if err := b.settle(ctx, c); err != nil {
		return 0, err
	}
	jobs := make(chan benchDone)
	start := func(job, place string, args ...string) {
		args = append([]string{job, b.db(place)}, append(args, b.turn.String())...)
		go func() {
			d, err := runBenchWorker(ctx, args...)
			jobs <- benchDone{d, err}
		}()
	}
	running := c.workers
	for range c.workers {
		start(c.job, place, c.args...)
	}
	if c.writer != nil {
		running++
		start(c.writer[0], writesFor(place), c.writer[1:]...)
	}
	for range running {
		done := <-jobs
		if done.Job == c.job {
			rate += float64(done.Ops) / done.Spent.Seconds()
		}
		if err == nil {
			err = done.err
		}
	}
	return rate, err
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

// benchWork is what a worker did: one line of JSON on its standard output.
type benchWork struct {
	Job   string        `json:"job"`
	Ops   int64         `json:"ops"`
	Spent time.Duration `json:"spent"` // nanoseconds
}
