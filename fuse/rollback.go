package fuse

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	_ "github.com/mattn/go-sqlite3" // the SQLite that rolls back

	"weir/fuse/internal/dbfile"
)

// rollBack has SQLite itself roll back the hot journal of the database at path,
// if there is one: an app was killed within a transaction. Nothing is mounted
// there yet, and no other process has the database open.
func rollBack(path string) error {
	fi, err := os.Stat(path + dbfile.SuffixJournal)
	if errors.Is(err, fs.ErrNotExist) || err == nil && fi.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite3", (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=rw"}).String())
	if err != nil {
		return err
	}
	var version int
	err = db.QueryRow("PRAGMA schema_version").Scan(&version)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("roll back the unfinished transaction of %s: %w", path, err)
	}
	return nil
}
