package oracle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files does without SQLite what users do to a database that nobody has open. arg is what, and the database's path.
func files(arg string) error {
	what, db, _ := strings.Cut(arg, " ")
	other := filepath.Join(filepath.Dir(db), copyName)
	if what == "rename" {
		return errors.Join(rename(db, db+".away"), rename(db+".away", db))
	}
	if _, err := os.Stat(other); err != nil && what != "remove" {
		return errNoCopy
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Remove(db + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	switch what {
	case "remove":
		if err := os.Remove(db); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	case "mv":
		return os.Rename(other, db)
	case "cp":
		return copyFile(db, other)
	}
	return fmt.Errorf("no file operation %q", what)
}

// rename renames a database with what goes with it, as far as it is there.
func rename(from, to string) (err error) {
	for _, suffix := range []string{"-journal", "-wal", "-shm", ""} {
		if e := os.Rename(from+suffix, to+suffix); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

var errNoCopy = errors.New("no copy")

// copyName is the name of a copy beside the database, which VACUUM INTO makes.
const copyName = "copy"

// copyFile does what cp does.
func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	// cp writes 128 KiB at a time.
	_, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, 128<<10))
	return errors.Join(err, dst.Close())
}
