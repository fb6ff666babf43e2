package oracle

import (
	"database/sql/driver"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"os"

	"github.com/mattn/go-sqlite3"

	"weir/stream"
)

// childVar in the environment makes the test binary a child that uses SQLite.
const childVar = "WEIR_ORACLE_CHILD"

// request is what a child is told, as JSON, one after the other.
type request struct{ Verb, Arg string }

// answer is what it says to each.
type answer struct {
	Rows []string // of a statement, or a hash of many
	Err  string
	Open bool // the connection is open and within a transaction

	// The pages of the database as SQLite reads them, for verb "pages".
	PageSize uint32
	Sums     []byte // 8 bytes each, see [pageSums]
}

// child is one process with at most one connection.
type child struct{ conn *sqlite3.SQLiteConn }

func runChild(r io.Reader, w io.Writer) error {
	var c child
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
	switch {
	case req.Verb == "open":
		err = c.open(req.Arg)
	case req.Verb == "close":
		err = c.close()
	case req.Verb == "files":
		err = c.files(req.Arg)
	case c.conn == nil:
		err = errors.New("no connection")
	case req.Verb == "persist":
		err = c.conn.SetFileControlInt("main", sqlite3.SQLITE_FCNTL_PERSIST_WAL, 1)
	case req.Verb == "restore":
		err = c.restore(req.Arg)
	case req.Verb == "sql":
		a.Rows, err = c.query(req.Arg)
	case req.Verb == "pages":
		a.PageSize, a.Sums, err = c.pages(req.Arg)
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

// open opens a connection by SQLite's URI.
func (c *child) open(uri string) error {
	if c.conn != nil {
		return errors.New("open already")
	}
	conn, err := (&sqlite3.SQLiteDriver{}).Open(uri)
	if err != nil {
		return err
	}
	c.conn = conn.(*sqlite3.SQLiteConn)
	return c.conn.RegisterFunc("blob", blob, true)
}

// blob is the SQL function blob(seed, n): n bytes that look random.
func blob(seed, n int64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24, 32), uint64(seed)))).Read(b)
	return b
}

func (c *child) close() error {
	if c.conn == nil {
		return nil
	}
	conn := c.conn
	c.conn = nil
	return conn.Close()
}

// rowsShown is how many rows are told one by one.
const rowsShown = 20

func (c *child) query(query string) ([]string, error) {
	rows, err := c.conn.Query(query, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	values := make([]driver.Value, len(rows.Columns()))
	var shown []string
	n, hash := 0, crc64.New(crc64.MakeTable(crc64.ISO))
	for {
		err := rows.Next(values)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return shown, err
		}
		n++
		row := fmt.Sprint(values)
		io.WriteString(hash, row)
		if n <= rowsShown {
			shown = append(shown, row)
		}
	}
	if n > rowsShown {
		shown = []string{fmt.Sprintf("%d rows, %x", n, hash.Sum64())}
	}
	return shown, nil
}

// pages reads every page of a schema.
func (c *child) pages(schema string) (uint32, []byte, error) {
	// sqlite3_serialize takes the page size that the connection saw last.
	if _, err := c.query("PRAGMA " + schema + ".schema_version"); err != nil {
		return 0, nil, err
	}
	data, err := c.conn.Serialize(schema)
	if err != nil {
		return 0, nil, err
	}
	if len(data) < 100 {
		return 0, nil, fmt.Errorf("%d bytes are no database", len(data))
	}
	size := uint32(binary.BigEndian.Uint16(data[16:]))
	if size == 1 {
		size = 65536
	}
	return size, pageSums(data, size), nil
}

// pageSums are the checksums of all pages, of page 1 without the bytes in which a replica differs.
func pageSums(data []byte, pageSize uint32) (sums []byte) {
	data[18], data[19] = 0, 0
	for at := 0; at < len(data); at += int(pageSize) {
		sum := stream.PageSum(uint32(at/int(pageSize))+1, data[at:at+int(pageSize)])
		sums = binary.LittleEndian.AppendUint64(sums, uint64(sum))
	}
	return sums
}

func childMain() int {
	if err := runChild(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}
