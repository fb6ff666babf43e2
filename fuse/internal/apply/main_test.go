package apply

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	_ "github.com/mattn/go-sqlite3"
)

// childEnv names what this binary is when a test starts it again: locks are a process's own, so
// readers need one.
const childEnv = "WEIR_APPLY_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "reader":
		exit(readerMain(os.Args[1]))
	case "replica":
		exit(replicaMain(os.Args[1], os.Args[2]))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// readerMain obeys commands from its input, one a line, and answers each with a line.
func readerMain(path string) error {
	db, err := sql.Open("sqlite3", "file:"+path+"?mode=ro&readonly_shm=1&_busy_timeout=0")
	if err != nil {
		return err
	}
	r := &childReader{db: db}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		answer, err := r.do(strings.Fields(in.Text()))
		if err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Println(answer)
	}
	return db.Close()
}

type childReader struct {
	db   *sql.DB
	tx   *sql.Tx
	stop chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	n    int   // reads by loop
	err  error // the first of loop
}

func (r *childReader) do(cmd []string) (string, error) {
	var err error
	switch cmd[0] {
	case "begin":
		if r.tx, err = r.db.Begin(); err == nil {
			return check(r.tx, false)
		}
	case "check":
		return check(r.tx, true)
	case "end":
		err = r.tx.Rollback()
	case "read":
		return check(r.db, true)
	case "tables":
		var n int
		err = r.db.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&n)
		return fmt.Sprint(n), err
	case "loop":
		r.stop = make(chan struct{})
		for range 4 {
			r.wg.Go(r.loop)
		}
	case "stop":
		close(r.stop)
		r.wg.Wait()
		return fmt.Sprint(r.n), r.err
	}
	return "ok", err
}

// loop reads until stop, in transactions of two checks.
func (r *childReader) loop() {
	last := 0
	for i := 0; ; i++ {
		select {
		case <-r.stop:
			return
		default:
		}
		n, err := r.once(i%50 == 0)
		if err == nil && n < last {
			err = fmt.Errorf("went back from transaction %d to %d", last, n)
		}
		last = n
		r.mu.Lock()
		r.n++
		if err != nil && r.err == nil {
			r.err = fmt.Errorf("read %d: %w", i, err)
		}
		r.mu.Unlock()
	}
}

func (r *childReader) once(integrity bool) (n int, err error) {
	tx, err := r.db.BeginTx(context.Background(), nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	first, err := check(tx, false)
	if err != nil {
		return 0, err
	}
	second, err := check(tx, integrity)
	if err != nil {
		return 0, err
	}
	if first != second {
		return 0, fmt.Errorf("transaction saw %s and then %s", first, second)
	}
	_, err = fmt.Sscan(first, &n)
	return n, err
}

type querier interface {
	QueryRow(query string, args ...any) *sql.Row
}

// check compares what each transaction of source leaves, and returns its number.
func check(q querier, integrity bool) (string, error) {
	var n, count, rows, sum, bytes int
	err := q.QueryRow("SELECT n, count, bytes, (SELECT count(*) FROM t), (SELECT ifnull(sum(length(v)),0) FROM t) FROM state").Scan(&n, &count, &bytes, &rows, &sum)
	if err != nil {
		return "", err
	}
	if rows != count || sum != bytes {
		return "", fmt.Errorf("transaction %d: got %d rows of %d bytes, want %d of %d", n, rows, sum, count, bytes)
	}
	if integrity {
		var result string
		if err := q.QueryRow("PRAGMA integrity_check").Scan(&result); err != nil || result != "ok" {
			return "", fmt.Errorf("transaction %d: integrity check: %s (%v)", n, result, err)
		}
	}
	return fmt.Sprint(n), nil
}

// reader is a process that reads a database read-only.
type reader struct {
	testing.TB
	in  io.WriteCloser
	out *bufio.Reader
}

func startReader(tb testing.TB, dir string) *reader {
	tb.Helper()
	cmd := exec.Command(os.Args[0], filepath.Join(readersDir(dir), "db"))
	cmd.Env = append(os.Environ(), childEnv+"=reader", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("reader: %v", err)
		}
	})
	return &reader{TB: tb, in: in, out: bufio.NewReader(out)}
}

// do has the reader obey a command and returns its answer.
func (r *reader) do(cmd string) string {
	r.Helper()
	fmt.Fprintln(r.in, cmd)
	line, err := r.out.ReadString('\n')
	if err != nil {
		r.Fatalf("%s: %v", cmd, err)
	}
	return strings.TrimSpace(line)
}

// want has the reader obey a command and compares its answer.
func (r *reader) want(cmd, answer string) {
	r.Helper()
	if got := r.do(cmd); got != answer {
		r.Errorf("%s: got %q, want %q", cmd, got, answer)
	}
}
