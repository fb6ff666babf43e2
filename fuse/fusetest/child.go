package fusetest

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/mattn/go-sqlite3"

	"weir/stream"
)

// childVar in the environment makes a test binary a child that uses SQLite.
const childVar = "WEIR_TEST_CHILD"

// request is what a child is told, as JSON, one after the other.
type request struct{ Verb, Arg string }

// Answer is what it says to each.
type Answer struct {
	Rows []string // columns are separated by |
	Err  string   // with SQLite's error codes first, if it is SQLite's
	Open bool     // the connection is within a transaction

	Table []byte // of verb "pages": see [Answer.Pages]
}

// Pages returns the checksums of a database's pages, of page 1 as [Versionless]. An empty database has none.
func (a *Answer) Pages() (*stream.Sums, error) {
	if len(a.Table) == 0 {
		return stream.NewSums(0), nil
	}
	return stream.ReadSums(bytes.NewReader(a.Table), 1<<20)
}

// Child is one process with at most one connection. Its verbs:
//
//	open URI    open a connection by SQLite's URI
//	close       close it
//	sql TEXT    run one or more statements; the rows are the last one's
//	pages HOW   read every page: "own" through the connection itself, otherwise through another one as well
type Child struct {
	Verbs  map[string]func(conn *sqlite3.SQLiteConn, arg string) error // more of them; conn is nil where there is none
	Opened func(*sqlite3.SQLiteConn) error                             // prepares a connection; may be nil

	uri  string
	conn *sqlite3.SQLiteConn
}

// run answers requests until they end.
func (c *Child) run(r io.Reader, w io.Writer) error {
	signal.Ignore(syscall.SIGXFSZ) // a write over the limit is an error
	dec, enc := json.NewDecoder(r), json.NewEncoder(w)
	for {
		var req request
		if err := dec.Decode(&req); errors.Is(err, io.EOF) {
			return c.close()
		} else if err != nil {
			return err
		}
		if err := enc.Encode(c.do(req)); err != nil {
			return err
		}
	}
}

func (c *Child) do(req request) (a Answer) {
	var err error
	more := c.Verbs[req.Verb]
	switch {
	case req.Verb == "open":
		err = c.open(req.Arg)
	case req.Verb == "close":
		err = c.close()
	case more != nil:
		err = more(c.conn, req.Arg)
	case c.conn == nil:
		err = errors.New("no connection")
	case req.Verb == "sql":
		a.Rows, err = query(c.conn, req.Arg)
	case req.Verb == "pages":
		a.Table, err = c.pages(req.Arg)
	default:
		err = fmt.Errorf("no verb %q", req.Verb)
	}
	if err != nil {
		a.Err = describe(err)
	}
	a.Open = c.conn != nil && !c.conn.AutoCommit()
	return a
}

func describe(err error) string {
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		return fmt.Sprintf("%d/%d %v", e.Code, e.ExtendedCode, err)
	}
	return err.Error()
}

func (c *Child) open(uri string) error {
	if c.conn != nil {
		return errors.New("open already")
	}
	conn, err := Open(uri)
	if err != nil {
		return err
	}
	c.uri, c.conn = uri, conn
	if c.Opened != nil {
		return c.Opened(conn)
	}
	return nil
}

// Open opens a connection in this process, for a [Child].
func Open(uri string) (*sqlite3.SQLiteConn, error) {
	conn, err := (&sqlite3.SQLiteDriver{}).Open(uri)
	if err != nil {
		return nil, err
	}
	return conn.(*sqlite3.SQLiteConn), nil
}

func (c *Child) close() error {
	if c.conn == nil {
		return nil
	}
	conn := c.conn
	c.conn = nil
	return conn.Close()
}

// query runs one or more statements and returns the last one's rows.
func query(conn *sqlite3.SQLiteConn, query string) (shown []string, err error) {
	rows, err := conn.Query(query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]driver.Value, len(rows.Columns()))
	for {
		err := rows.Next(values)
		if errors.Is(err, io.EOF) {
			return shown, nil
		}
		if err != nil {
			return shown, err
		}
		shown = append(shown, row(values))
	}
}

func row(values []driver.Value) string {
	var b bytes.Buffer
	for i, v := range values {
		if i > 0 {
			b.WriteByte('|')
		}
		fmt.Fprint(&b, v)
	}
	return b.String()
}

// pages reads every page. A connection's own cache holds free pages as they were never written (a rollback journal's
// commit leaves those out), so another one sees what is committed. EXCLUSIVE locking keeps that out; then it is in the
// file, but in WAL mode, whose commits leave nothing out.
func (c *Child) pages(how string) (table []byte, err error) {
	conn, exclusive := c.conn, c.is("locking_mode", "exclusive")
	if how != "own" && exclusive && !c.is("journal_mode", "wal") {
		return c.filePages()
	}
	if how != "own" && !exclusive {
		if conn, err = Open(c.uri); err != nil {
			return nil, err
		}
		defer conn.Close()
	}
	// Serialize takes the page size for what it was when the connection last looked.
	if _, err := query(conn, "PRAGMA schema_version"); err != nil {
		return nil, err
	}
	data, err := conn.Serialize("main")
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return encodeSums(data)
}

// filePages reads the file by another process: to close it in this one would give up SQLite's locks.
func (c *Child) filePages() ([]byte, error) {
	path, err := query(c.conn, "SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		return nil, err
	}
	data, err := exec.Command("cat", path[0]).Output()
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return encodeSums(data)
}

// is tells whether a pragma of the main database has a value.
func (c *Child) is(pragma, value string) bool {
	rows, err := query(c.conn, "PRAGMA main."+pragma)
	return err == nil && len(rows) == 1 && rows[0] == value
}
