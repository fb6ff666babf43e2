package conformance

import (
	"bytes"
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mattn/go-sqlite3"

	"weir/stream"
)

// childVar in the environment makes the test binary a child that uses SQLite.
const childVar = "WEIR_CONFORMANCE_CHILD"

// request is what a child is told, as JSON, one after the other.
type request struct{ Verb, Arg string }

// answer is what it says to each.
type answer struct {
	Rows []string // columns are separated by |
	Err  string
	Open bool // the connection is within a transaction

	Table []byte // of verb "pages": a [stream.Sums] as its WriteTo writes it
}

// child is one process with one connection.
type child struct {
	uri  string
	conn *sqlite3.SQLiteConn
}

func childMain() int {
	var c child
	if err := c.run(os.Stdin, os.Stdout); err != nil {
		return complain(err)
	}
	return 0
}

func (c *child) run(r io.Reader, w io.Writer) error {
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

func (c *child) do(req request) (a answer) {
	var err error
	switch req.Verb {
	case "open":
		err = c.open(req.Arg)
	case "sql":
		a.Rows, err = c.query(req.Arg)
	case "pages":
		a.Table, err = c.pages(req.Arg)
	default:
		err = fmt.Errorf("no verb %q", req.Verb)
	}
	if err != nil {
		a.Err = err.Error()
	}
	a.Open = c.conn != nil && !c.conn.AutoCommit()
	return a
}

// open opens a connection by SQLite's URI.
func (c *child) open(uri string) error {
	conn, err := (&sqlite3.SQLiteDriver{}).Open(uri)
	if err != nil {
		return err
	}
	c.uri, c.conn = uri, conn.(*sqlite3.SQLiteConn)
	return nil
}

func (c *child) close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// query runs one or more statements and returns the last one's rows.
func (c *child) query(query string) (shown []string, err error) {
	rows, err := c.conn.Query(query, nil)
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

// pages reads every page as SQLite sees it: "own" through the connection itself, and otherwise through another one,
// because a connection's cache holds free pages as they were never written. EXCLUSIVE locking leaves only the own one.
func (c *child) pages(how string) ([]byte, error) {
	conn := c.conn
	if how != "own" && !c.exclusive() {
		var other child
		if err := other.open(c.uri); err != nil {
			return nil, err
		}
		defer other.close()
		conn = other.conn
	}
	// Serialize takes the page size for what it was when the connection last looked.
	if _, err := conn.Exec("SELECT * FROM sqlite_schema", nil); err != nil {
		return nil, err
	}
	data, err := conn.Serialize("main")
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return table(data)
}

func (c *child) exclusive() bool {
	rows, err := c.query("PRAGMA main.locking_mode")
	return err == nil && len(rows) == 1 && rows[0] == "exclusive"
}

// table is the checksums of a database's pages.
func table(data []byte) ([]byte, error) {
	sums := stream.NewSums(pageSize(data))
	size := int(sums.PageSize())
	for at := 0; at < len(data); at += size {
		pgno := uint32(at/size) + 1
		sums.Set(pgno, stream.PageSum(pgno, data[at:at+size]))
	}
	sums.Set(1, versionless(data[:size]))
	var table bytes.Buffer
	_, err := sums.WriteTo(&table)
	return table.Bytes(), err
}

// Offsets in the database header, https://sqlite.org/fileformat2.html#the_database_header
const (
	pageSizeAt     = 16
	writeVersionAt = 18
	readVersionAt  = 19
)

func pageSize(page1 []byte) uint32 {
	if size := uint32(binary.BigEndian.Uint16(page1[pageSizeAt:])); size != 1 {
		return size
	}
	return 65536
}

// versionless is the checksum of page 1 without the file format versions, in which a replica differs.
func versionless(page1 []byte) stream.Checksum {
	b := bytes.Clone(page1)
	b[writeVersionAt], b[readVersionAt] = 0, 0
	return stream.PageSum(1, b)
}
