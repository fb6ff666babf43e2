package dbfile

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/mattn/go-sqlite3"
)

var pageSizes = []uint32{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536}

// sqliteDB is a database that SQLite itself writes, open on one connection.
type sqliteDB struct {
	testing.TB
	*sql.DB
	path string
}

func newSQLite(tb testing.TB, pageSize uint32, mode string) *sqliteDB {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "db")
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	s := &sqliteDB{TB: tb, DB: db, path: path}
	s.exec("PRAGMA page_size=%d", pageSize)
	s.exec("PRAGMA journal_mode=%s", mode)
	s.exec("PRAGMA wal_autocheckpoint=0")
	s.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)")
	return s
}

func (s *sqliteDB) exec(format string, args ...any) {
	s.Helper()
	if _, err := s.Exec(fmt.Sprintf(format, args...)); err != nil {
		s.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// fill inserts n rows in one transaction.
func (s *sqliteDB) fill(n int) {
	s.Helper()
	s.exec("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO t(v) SELECT randomblob(300) FROM c", n)
}

func (s *sqliteDB) count() int {
	s.Helper()
	var n int
	if err := s.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *sqliteDB) read(suffix string) []byte {
	s.Helper()
	b, err := os.ReadFile(s.path + suffix)
	if err != nil {
		s.Fatal(err)
	}
	return b
}
