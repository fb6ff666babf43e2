package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"
)

// childVar in the environment makes the test binary a child that uses SQLite: its value is the job.
const childVar = "WEIR_TEST_CHILD"

// runChild is the test binary as a child. The first argument is the database.
func runChild(job string, args []string) int {
	switch job {
	case "weir":
		return run(context.Background(), args, os.Stdin, os.Stdout, os.Stderr)
	case "host":
		return complain(becomeHost(args))
	case "bottomline":
		return complainOf(childBottomLine())
	case "frames":
		return complainOf(childFrames(args[0]))
	case "load":
		return complainOf(childLoad(args[0]))
	case "audits":
		return complainOf(childAudits(args[0]))
	case "peek":
		return complainOf(childPeek(args[0], args[1]))
	}
	db, err := openSQLite(args[0])
	if err == nil {
		defer db.Close()
		switch job {
		case "sql":
			err = childSQL(db, args[1])
		case "audit":
			err = childAudit(db)
		case "hold":
			err = childHold(db, args[1])
		case "survey":
			err = childSurvey(db)
		case "dump":
			err = childDump(db, args[1])
		default:
			err = fmt.Errorf("no job %q", job)
		}
	}
	return complainOf(err)
}

// complainOf is the exit code of a child that ends with err.
func complainOf(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		if e, ok := errors.AsType[sqlite3.Error](err); ok {
			fmt.Fprintf(os.Stderr, "(code %d, errno %d)\n", e.ExtendedCode, e.SystemErrno)
		}
		return 1
	}
	return 0
}

// childSQL prints the rows of a query as the sqlite3 shell does.
func childSQL(db *sql.DB, query string) error {
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	return printRows(rows)
}

func printRows(rows *sql.Rows) error {
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = v.String
		}
		fmt.Println(strings.Join(row, "|"))
	}
	return rows.Err()
}

// auditSchema has three tables that agree in every committed state: counter and proof on how many transactions there
// were, item and proof on what is in item.
const auditSchema = `
CREATE TABLE counter (n INTEGER NOT NULL);
CREATE TABLE item (id INTEGER PRIMARY KEY, v INTEGER NOT NULL, filler BLOB);
CREATE INDEX item_v ON item (v);
CREATE TABLE proof (n INTEGER NOT NULL, total INTEGER NOT NULL);
INSERT INTO counter VALUES (0);
INSERT INTO proof VALUES (0, 0);
`

// auditStep is one transaction that keeps them in agreement, over several pages.
const auditStep = `
BEGIN IMMEDIATE;
UPDATE counter SET n = n + 1;
INSERT INTO item (v, filler) VALUES (abs(random() % 1000000), randomblob(abs(random() % 3000)));
UPDATE item SET v = v + 1, filler = randomblob(700) WHERE id % 13 = (SELECT n FROM counter) % 13;
DELETE FROM item WHERE id % 31 = 7 AND (SELECT n FROM counter) % 17 = 0;
UPDATE proof SET n = (SELECT n FROM counter), total = (SELECT coalesce(sum(v), 0) FROM item);
COMMIT;
`

// auditRollback changes much and takes it back.
const auditRollback = `
BEGIN IMMEDIATE;
UPDATE counter SET n = n + 1000000;
UPDATE item SET v = 0, filler = zeroblob(2000);
ROLLBACK;
`

// childAudit reads in a loop until standard input ends, and prints each new counter that it sees.
func childAudit(db *sql.DB) error {
	ctx := untilEOF(context.Background(), os.Stdin)
	last := int64(-1)
	for ctx.Err() == nil {
		n, err := auditOnce(db)
		if err != nil {
			return err
		}
		if n < last {
			return fmt.Errorf("counter went back from %d to %d", last, n)
		}
		if n != last {
			fmt.Println(n)
			last = n
		}
	}
	return nil
}

// auditOnce checks one state in one read transaction.
func auditOnce(db *sql.DB) (n int64, err error) {
	tx, err := db.Begin()
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	var proven, total, items int64
	for _, q := range []struct {
		query string
		into  []any
	}{
		{"SELECT n FROM counter", []any{&n}},
		{"SELECT coalesce(sum(v), 0) FROM item", []any{&items}},
		{"SELECT n, total FROM proof", []any{&proven, &total}},
	} {
		if err := tx.QueryRow(q.query).Scan(q.into...); err != nil {
			return 0, fmt.Errorf("%s: %w", q.query, err)
		}
	}
	if n != proven || items != total {
		return 0, fmt.Errorf("a state that was never committed: counter %d, proof %d; items %d, proof %d", n, proven, items, total)
	}
	return n, nil
}

// childHold keeps one read transaction open: it prints the query's result at once and, at the end of standard input,
// again from the same transaction.
func childHold(db *sql.DB, query string) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := printTx(tx, query); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	return printTx(tx, query)
}

func printTx(tx *sql.Tx, query string) error {
	rows, err := tx.Query(query)
	if err != nil {
		return err
	}
	return printRows(rows)
}

// client is a way to use SQLite.
type client struct {
	name string
	args func(db, query string) []string
}

const pythonSQL = `
import sqlite3, sys
try:
    c = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
    for row in c.execute(sys.argv[2]):
        print("|".join("" if v is None else str(v) for v in row))
except sqlite3.Error as e:
    sys.exit("Error: " + str(e))
`

// clients open databases as their users do, without mode=ro or immutable.
func clients() []client {
	return []client{
		{"shell", func(db, q string) []string { return []string{"sqlite3", "-cmd", ".timeout 10000", db, q} }},
		{"python", func(db, q string) []string { return []string{"python3", "-c", pythonSQL, db, q} }},
		{"go", func(db, q string) []string { return []string{"sql", db, q} }},
	}
}

// command makes a command that dies with the test. A job of runChild runs this binary.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	switch args[0] {
	case "weir", "host", "sql", "audit", "hold", "survey", "dump", "load", "audits", "peek", "frames":
		cmd = exec.Command(os.Args[0], args[1:]...)
		cmd.Env = append(os.Environ(), childVar+"="+args[0])
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// tryCommand runs a command and returns what it printed, both streams together.
func tryCommand(args ...string) (string, error) {
	out, err := command(args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustCommand(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryCommand(args...)
	if err != nil {
		t.Fatalf("%.200q: %v\n%s", args, err, out)
	}
	return out
}

// shell runs SQL with the sqlite3 shell. A script of any length comes by standard input.
func shell(t *testing.T, db, script string) string {
	t.Helper()
	out, err := tryShell(db, script)
	if err != nil {
		t.Fatalf("sqlite3 %s < %.200q: %v\n%s", db, script, err, out)
	}
	return out
}

func tryShell(db, script string) (string, error) {
	cmd := command("sqlite3", "-bail", "-cmd", ".timeout 10000", db)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// background is a child that runs beside the test, until its standard input is closed.
type background struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // what it prints
	errs  lockedBuffer

	killed bool // by sigkill; it has still to be waited for
	ended  bool
}

func startBackground(t *testing.T, args ...string) *background {
	t.Helper()
	b := &background{t: t, cmd: command(args...), lines: make(chan string, 1<<16)}
	b.cmd.Stderr = &b.errs
	stdout, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.kill)
	go func() {
		defer close(b.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			b.lines <- s.Text()
		}
	}()
	return b
}

// next returns the next line that the child prints.
func (b *background) next() string {
	b.t.Helper()
	select {
	case line, ok := <-b.lines:
		if !ok {
			b.ended = true
			b.t.Fatalf("%s ended: %v\n%s", b.cmd.Args[1:], b.cmd.Wait(), b.errs.String())
		}
		return line
	case <-time.After(patience):
		b.t.Fatalf("%s printed nothing for %v", b.cmd.Args[1:], patience)
	}
	return ""
}

// finish closes the child's standard input and returns the lines that are left. The child must end well.
func (b *background) finish() (rest []string) {
	b.t.Helper()
	b.stdin.Close()
	for line := range b.lines {
		rest = append(rest, line)
	}
	b.ended = true
	if err := b.cmd.Wait(); err != nil {
		b.t.Fatalf("%s: %v\n%s", b.cmd.Args[1:], err, b.errs.String())
	}
	return rest
}

func (b *background) kill() {
	if b.ended {
		return
	}
	b.cmd.Process.Kill()
	for range b.lines {
	}
	b.cmd.Wait()
}

// lockedBuffer collects a running command's output.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// childSurvey audits in a loop until standard input ends, and prints a line after the first time.
func childSurvey(db *sql.DB) error {
	ctx := untilEOF(context.Background(), os.Stdin)
	for first := true; ctx.Err() == nil; first = false {
		if _, err := auditOnce(db); err != nil {
			return err
		}
		if first {
			fmt.Println("reading")
		}
	}
	return nil
}

// childDump writes every page to file, sound or not, and prints what integrity_check says.
func childDump(db *sql.DB, file string) error {
	result := "ok"
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&result); err != nil {
		result = "Error: " + err.Error()
	}
	fmt.Println(result)
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error {
		pages, err := c.(*sqlite3.SQLiteConn).Serialize("main")
		if err != nil {
			return err
		}
		return os.WriteFile(file, pages, 0o600)
	})
}
