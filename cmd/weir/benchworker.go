package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// benchWorkerName is the hidden command that uses SQLite for weir bench, each in a process of its own.
const benchWorkerName = "bench-worker"

// benchRows is how many rows are there to be read.
const benchRows = 50_000

// benchSchema has one table to read and one to write, with rows of 200 bytes and an index, and weir demo's for the lag.
const benchSchema = `
CREATE TABLE fixed (id INTEGER PRIMARY KEY, k INTEGER NOT NULL, v TEXT NOT NULL);
CREATE INDEX fixed_k ON fixed (k);
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
	INSERT INTO fixed SELECT i, abs(random()), hex(randomblob(96)) FROM n;
CREATE TABLE growing (id INTEGER PRIMARY KEY, k INTEGER NOT NULL, v TEXT NOT NULL);
CREATE INDEX growing_k ON growing (k);
INSERT INTO growing (k, v) VALUES (0, '');
CREATE TABLE beat (id INTEGER PRIMARY KEY, at INTEGER, mode TEXT, note TEXT);
PRAGMA journal_mode = WAL;`

// runBenchWorkerJob runs one job on one database and says what it did:
//
//	newest DB                                   the newest row written, as a number of operations
//	mode DB MODE                                nothing, and leaves the database in a journal mode
//	point DB MMAP FOR                           rows read by their key; MMAP is "mmap" or nothing
//	scan DB MMAP FOR                            rows read by scans of the table
//	insert DB MODE SYNCHRONOUS ROWS PACE FOR    transactions of so many rows, PACE a second; 0: as many as it can
func runBenchWorkerJob(ctx context.Context, args []string, std stdio) error {
	if len(args) < 2 {
		return usagef("%s is weir bench's own", benchWorkerName)
	}
	db, err := openSQLite(args[1])
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := benchWork{Job: args[0]}
	switch job, args := args[0], args[2:]; {
	case job == "newest" && len(args) == 0:
		err = conn.QueryRowContext(ctx, "SELECT max(id) FROM growing").Scan(&w.Ops)
	case job == "mode" && len(args) == 1:
		_, err = conn.ExecContext(ctx, "PRAGMA journal_mode = "+args[0])
	case job == "point" && len(args) == 2:
		err = w.readPoints(ctx, conn, args)
	case job == "scan" && len(args) == 2:
		err = w.readScans(ctx, conn, args)
	case job == "insert" && len(args) == 5:
		err = w.insertRows(ctx, conn, args)
	default:
		return usagef("%s does not know the job %q", benchWorkerName, job)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(std.out).Encode(w)
}

// benchWork is what a worker did: one line of JSON on its standard output.
type benchWork struct {
	Job   string        `json:"job"`
	Ops   int64         `json:"ops"`
	Spent time.Duration `json:"spent"` // nanoseconds
	CPU   time.Duration `json:"cpu"`   // nanoseconds of processor time
}

// rate is operations a second.
func (w benchWork) rate() float64 { return float64(w.Ops) / w.Spent.Seconds() }

// repeat runs op once to warm up, then for as long as text says.
func (w *benchWork) repeat(ctx context.Context, text string, op func() (ops int64, err error)) error {
	length, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	if _, err := op(); err != nil {
		return err
	}
	start, cpu := time.Now(), cpuTime()
	for w.Spent < length {
		n, err := op()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		w.Ops += n
		w.Spent = time.Since(start)
	}
	w.CPU = cpuTime() - cpu
	return nil
}

// cpuTime is the processor time that this process has had.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func setMmap(ctx context.Context, conn *sql.Conn, mmap string) error {
	size := 0
	if mmap != "" {
		size = 1 << 30
	}
	_, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA mmap_size = %d; PRAGMA cache_size = -256", size))
	return err
}

func (w *benchWork) readPoints(ctx context.Context, conn *sql.Conn, args []string) error {
	if err := setMmap(ctx, conn, args[0]); err != nil {
		return err
	}
	read, err := conn.PrepareContext(ctx, "SELECT v FROM fixed WHERE id = ?")
	if err != nil {
		return err
	}
	defer read.Close()
	return w.repeat(ctx, args[1], func() (int64, error) {
		var v []byte
		return 1, read.QueryRow(1 + rand.IntN(benchRows)).Scan(&v)
	})
}

func (w *benchWork) readScans(ctx context.Context, conn *sql.Conn, args []string) error {
	if err := setMmap(ctx, conn, args[0]); err != nil {
		return err
	}
	read, err := conn.PrepareContext(ctx, "SELECT sum(length(v)) FROM fixed")
	if err != nil {
		return err
	}
	defer read.Close()
	return w.repeat(ctx, args[1], func() (int64, error) {
		var sum int64
		return benchRows, read.QueryRow().Scan(&sum)
	})
}

func (w *benchWork) insertRows(ctx context.Context, conn *sql.Conn, args []string) error {
	rows, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA journal_mode = "+args[0]+"; PRAGMA synchronous = "+args[1]); err != nil {
		return err
	}
	insert, err := conn.PrepareContext(ctx, "INSERT INTO growing (k, v) VALUES (?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	pace, err := strconv.ParseFloat(args[3], 64)
	if err != nil {
		return err
	}
	text := strings.Repeat("weir ", 38) // 190 bytes
	one := func() error {
		_, err := insert.Exec(rand.Int64(), text)
		return err
	}
	wait := paced(pace)
	return w.repeat(ctx, args[4], func() (int64, error) {
		wait()
		if rows == 1 {
			return 1, one()
		}
		return 1, inTransaction(ctx, conn, rows, one)
	})
}

// paced returns a function that returns, from its first call on, pace times a second, where it is called often enough. 0
// is no pace.
func paced(pace float64) func() {
	var start time.Time
	calls := 0
	return func() {
		if start.IsZero() {
			start = time.Now()
		}
		if pace > 0 {
			nap(time.Until(start.Add(time.Duration(float64(calls) / pace * float64(time.Second)))))
		}
		calls++
	}
}

func inTransaction(ctx context.Context, conn *sql.Conn, rows int, one func() error) error {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for range rows {
		if err := one(); err != nil {
			return err
		}
	}
	_, err := conn.ExecContext(ctx, "COMMIT")
	return err
}

// runBenchWorker runs a job in a process of its own.
func runBenchWorker(ctx context.Context, args ...string) (w benchWork, err error) {
	cmd, err := selfCommand(append([]string{benchWorkerName}, args...)...)
	if err != nil {
		return w, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return w, err
	}
	if err := cmd.Wait(); err != nil {
		return w, errors.New(workerText(stderr.String()))
	}
	return w, errors.Join(json.Unmarshal(stdout.Bytes(), &w), ctx.Err())
}
