package main

import (
	"fmt"
	"strings"
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
	// writer inserts at the same time: beside readers on the replica, on the primary.
	writer *inserts
	// pace is how many transactions a second the writer does in each place; 0: as many as in the last place, which goes
	// first, and does what it can.
	pace float64
}

// inserts are transactions that are written.
type inserts struct {
	mode, synchronous string
	rows              int // of each
}

func (i inserts) String() string {
	if i.rows > 1 {
		return fmt.Sprintf("%s, %s, %d rows", i.mode, i.synchronous, i.rows)
	}
	return fmt.Sprintf("%s, %s", i.mode, i.synchronous)
}

// args are those of the job that writes them, pace a second; 0: as many as it can.
func (i inserts) args(pace float64) []string {
	return []string{i.mode, i.synchronous, fmt.Sprint(i.rows), fmt.Sprint(pace)}
}

// mode is the journal mode that is written in, "" where nothing is.
func (c benchCase) mode() string {
	switch {
	case c.writer != nil:
		return c.writer.mode
	case c.job == "insert":
		return c.args[0]
	}
	return ""
}

var (
	inWAL    = inserts{"WAL", "NORMAL", 1}
	inserted = []inserts{
		inWAL, {"WAL", "FULL", 1}, {"DELETE", "FULL", 1}, {"TRUNCATE", "FULL", 1}, {"PERSIST", "FULL", 1},
		{"WAL", "NORMAL", 100}, {"DELETE", "FULL", 100},
	}
)

var (
	writable = []string{benchBare, benchPrimary}
	anywhere = []string{benchBare, benchPrimary, benchReplica}
	followed = []string{benchBare, benchReplica}
)

// steadyPace is what any machine can do in any place.
const steadyPace = 500

// benchCases begin with reads, while the databases are small and all the same.
func benchCases() []benchCase {
	cases := readCases()
	beside := benchCase{name: "point reads beside a writer", places: followed, unit: "rows/s", workers: 1, job: "point", args: []string{""}, writer: &inWAL}
	steady := beside
	steady.name, steady.pace = fmt.Sprintf("point reads beside %d tx/s", steadyPace), steadyPace
	cases = append(cases, beside, steady)
	insert := benchCase{places: writable, unit: "tx/s", workers: 1, job: "insert"}
	insert.name, insert.args = fmt.Sprintf("insert, %s, replica here", inWAL), inWAL.args(0)
	cases = append(cases, insert)
	insert.alone = true
	for _, i := range inserted {
		insert.name, insert.args = fmt.Sprintf("insert, %s", i), i.args(0)
		cases = append(cases, insert)
	}
	return cases
}

func readCases() (cases []benchCase) {
	for _, n := range []int{1, 8} {
		for _, job := range []string{"point", "scan"} {
			for _, mmap := range []string{"", "mmap"} {
				name := strings.Join(strings.Fields(fmt.Sprintf("%s reads %s, %d readers", job, mmap, n)), " ")
				cases = append(cases, benchCase{name: strings.Replace(name, " ,", ",", 1), places: anywhere, unit: "rows/s", workers: n, job: job, args: []string{mmap}})
			}
		}
	}
	return cases
}
