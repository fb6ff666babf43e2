// Package rollback has SQLite itself roll back what an app left unfinished.
//
// A hot journal may name a super-journal, have several headers, or be one that
// SQLite would not use. Nobody knows better than SQLite, so it does it, before
// weir mounts and while no other process has the database open.
package rollback

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

// Journal rolls back the hot journal of the database at path, if there is one:
// an app was killed within a transaction. No process may have it open.
func Journal(path string) error {
	fi, err := os.Stat(path + dbfile.SuffixJournal)
	if errors.Is(err, fs.ErrNotExist) || err == nil && fi.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	// A power failure may leave a journal without its database, which SQLite removes where it creates one.
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
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
