package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"
)

// workerName is the hidden command that uses SQLite for weir demo. POSIX locks belong to processes, so everybody who
// uses a database there is a process of its own, as on real machines.
const workerName = "demo-worker"

// watchPause is how long the watching reader sleeps between two looks: so little that it is not the lag that is measured.
const watchPause = 20 * time.Microsecond

// beat is a row that was written or seen: one line of JSON on a worker's standard output.
type beat struct {
	ID    int64         `json:"id"`
	Spent time.Duration `json:"spent"` // nanoseconds: of the INSERT, or from its start until the row was seen
}

const demoSchema = `
CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT NOT NULL, people INTEGER NOT NULL);
CREATE INDEX city_people ON city (people);
WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
	INSERT INTO city SELECT i, 'city ' || hex(randomblob(8)), abs(random() % 1000000) FROM n;
CREATE TABLE beat (id INTEGER PRIMARY KEY, at INTEGER, mode TEXT, note TEXT);
CREATE INDEX beat_mode ON beat (mode, at);`

// runWorker runs one job on one database:
//
//	exec DB SQL
//	write DB MODE EVERY FOR    a row every EVERY for FOR (0: until standard input ends), as beats
//	watch DB                   each new row as a beat, until standard input ends
//	check DB FILE              integrity_check, and every page as this connection reads it to FILE
func runWorker(ctx context.Context, args []string, std stdio) error {
	if len(args) < 2 {
		return usagef("%s is weir demo's own", workerName)
	}
	job, args := args[0], args[1:]
	db, err := openSQLite(args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	out := json.NewEncoder(std.out)
	switch {
	case job == "exec" && len(args) == 2:
		_, err = db.ExecContext(ctx, args[1])
	case job == "write" && len(args) == 4:
		err = writeBeats(untilEOF(ctx, std.in), db, args[1:], out)
	case job == "watch" && len(args) == 1:
		err = watchBeats(untilEOF(ctx, std.in), db, out)
	case job == "check" && len(args) == 2:
		err = checkDatabase(ctx, db, args[1])
	default:
		err = usagef("%s does not know the job %q", workerName, job)
	}
	return err
}

// openSQLite opens path as any program does: no mode=ro, no immutable.
func openSQLite(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=10000")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// untilEOF returns a context that ends when in does: a worker must not outlive who started it.
func untilEOF(ctx context.Context, in *os.File) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		io.Copy(io.Discard, in)
		cancel()
	}()
	return ctx
}

func writeBeats(ctx context.Context, db *sql.DB, args []string, out *json.Encoder) error {
	every, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	length, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	if length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	mode := args[0]
	if _, err := db.Exec("PRAGMA journal_mode = " + mode); err != nil {
		return fmt.Errorf("set journal mode %s: %w", mode, err)
	}
	for ctx.Err() == nil {
		start := time.Now()
		res, err := db.Exec("INSERT INTO beat (at, mode, note) VALUES (?, ?, hex(randomblob(40)))", start.UnixNano(), mode)
		if err != nil {
			return fmt.Errorf("insert: %w", err)
		}
		id, err := res.LastInsertId()
		if err != nil {
			return err
		}
		if err := out.Encode(beat{id, time.Since(start)}); err != nil {
			return err
		}
		pause(ctx, every)
	}
	return nil
}

func watchBeats(ctx context.Context, db *sql.DB, out *json.Encoder) error {
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // nanoseconds, of this thread; or the pause would be longer by 50 microseconds
	last := int64(0)
	for ctx.Err() == nil {
		seen, err := newBeats(db, last)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		for _, b := range seen {
			if err := out.Encode(b); err != nil {
				return err
			}
			last = b.ID
		}
		nap(watchPause)
	}
	return nil
}

// newBeats returns the rows after the one with id last, all from one read transaction.
func newBeats(db *sql.DB, last int64) ([]beat, error) {
	rows, err := db.Query("SELECT id, coalesce(at, 0) FROM beat WHERE id > ? ORDER BY id", last)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var beats []beat
	for rows.Next() {
		var id, at int64
		if err := rows.Scan(&id, &at); err != nil {
			return nil, err
		}
		b := beat{ID: id}
		if at > 0 { // 0: a row that somebody typed
			b.Spent = time.Since(time.Unix(0, at))
		}
		beats = append(beats, b)
	}
	return beats, rows.Err()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// nap is a pause as short as the kernel can. Go's timers take a millisecond at least where nothing else runs.
func nap(d time.Duration) {
	if d <= 0 {
		return
	}
	t := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&t, nil) // a signal may end it early
}

// checkDatabase runs integrity_check and writes every page to file, WAL included.
func checkDatabase(ctx context.Context, db *sql.DB, file string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var result string
	if err := conn.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&result); err != nil {
		return fmt.Errorf("integrity_check: %w", err)
	}
	if result != "ok" {
		return errors.New("integrity_check: " + result)
	}
	return conn.Raw(func(c any) error {
		image, err := c.(*sqlite3.SQLiteConn).Serialize("main")
		if err != nil {
			return fmt.Errorf("read pages: %w", err)
		}
		return os.WriteFile(file, image, 0o600)
	})
}
