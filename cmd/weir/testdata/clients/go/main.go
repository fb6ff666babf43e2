// Go's database/sql with mattn's driver (sqlite3) or modernc's (sqlite), which is SQLite translated to Go. It is a module
// of its own, so that weir does not have modernc's.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"

	_ "github.com/mattn/go-sqlite3"
	_ "modernc.org/sqlite"
)

// writers is how many connections one process writes with at a time.
const writers = 3

const schema = `
CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, author VARCHAR NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (1, 0);
`

// errTakenBack rolls a transaction back.
var errTakenBack = errors.New("taken back")

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(driver, verb, path string, rest []string) error {
	if verb == "read" {
		db, err := open(driver, path, "deferred")
		if err != nil {
			return err
		}
		return errors.Join(transact(db, read), db.Close())
	}
	count, err := strconv.Atoi(rest[1])
	if err != nil {
		return err
	}
	db, err := open(driver, path, "immediate")
	if err != nil {
		return err
	}
	return errors.Join(write(db, rest[0], count, rest[2]), db.Close())
}

// open opens a database with each driver's own options. modernc's reads by mmap.
func open(driver, path, lock string) (*sql.DB, error) {
	options := "?_busy_timeout=60000&_txlock=" + lock
	if driver == "sqlite" {
		options = "?_pragma=busy_timeout(60000)&_pragma=mmap_size(268435456)&_txlock=" + lock
	}
	return sql.Open(driver, "file:"+path+options)
}

func write(db *sql.DB, mode string, count int, author string) error {
	if _, err := db.Exec("PRAGMA journal_mode = " + mode); err != nil {
		return err
	}
	if _, err := db.Exec(schema); err != nil {
		return err
	}
	ended := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for n := 1 + w; n <= count && err == nil; n += writers {
				err = transact(db, func(tx *sql.Tx) error { return add(tx, author, n) })
			}
			ended <- err
		}()
	}
	var errs []error
	for range writers {
		errs = append(errs, <-ended)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := transact(db, takeBack); !errors.Is(err, errTakenBack) {
		return err
	}
	return nil
}

func add(tx *sql.Tx, author string, n int) error {
	body := make([]byte, n*97%5000)
	rand.Read(body)
	if _, err := tx.Exec("UPDATE total SET n = n + 1"); err != nil {
		return err
	}
	_, err := tx.Exec("INSERT INTO note (author, n, body) VALUES (?, ?, ?)", author, n, body)
	return err
}

func takeBack(tx *sql.Tx) error {
	if _, err := tx.Exec("UPDATE total SET n = 0; DELETE FROM note"); err != nil {
		return err
	}
	return errTakenBack
}

func read(tx *sql.Tx) error {
	var total int
	if err := tx.QueryRow("SELECT n FROM total").Scan(&total); err != nil {
		return err
	}
	fmt.Println(total)
	rows, err := tx.Query("SELECT author, count(*), sum(n), sum(length(body)) FROM note GROUP BY author ORDER BY author")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var author string
		var count, sum, bytes int
		if err := rows.Scan(&author, &count, &sum, &bytes); err != nil {
			return err
		}
		fmt.Printf("%s|%d|%d|%d\n", author, count, sum, bytes)
	}
	return rows.Err()
}

func transact(db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}
