package capture_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mattn/go-sqlite3"

	"weir/fuse"
	"weir/fuse/fusetest"
	"weir/fuse/internal/rollback"
)

// TestMain is also that of children, which do what a process that serves a file system must not: mount weir over it, and
// map its files.
func TestMain(m *testing.M) {
	var w weir
	os.Exit(fusetest.Main(m, &fusetest.Child{Verbs: map[string]func(*sqlite3.SQLiteConn, string) error{
		"mount":    func(_ *sqlite3.SQLiteConn, dir string) error { return w.mount(dir) },
		"unmount":  func(*sqlite3.SQLiteConn, string) error { return w.mounts.Unmount(context.Background()) },
		"rollback": func(_ *sqlite3.SQLiteConn, path string) error { return rollback.Journal(path) },
		"dump":     func(_ *sqlite3.SQLiteConn, arg string) error { return dump(strings.Cut(arg, " ")) },
	}}))
}

// weir is a primary in a child.
type weir struct{ mounts *fuse.Mounts }

func (w *weir) mount(dir string) (err error) {
	w.mounts, err = fuse.Mount(context.Background(), fuse.Config{
		Databases:   []fuse.Database{{Path: filepath.Join(dir, "db")}},
		Passthrough: fusetest.PassthroughOfEnvironment().Primary,
		PassAtOnce:  true,
	})
	return err
}

// dump writes all pages of the database at path, as a connection of its own reads them, to a file.
func dump(path, to string, _ bool) error {
	conn, err := fusetest.Open("file:" + path)
	if err != nil {
		return err
	}
	data, err := serialize(conn)
	return errors.Join(err, conn.Close(), os.WriteFile(to, data, 0o644))
}

// serialize returns all pages. Serialize gives a database without any a first one, and takes the page size for what it
// was when the connection last looked.
func serialize(conn *sqlite3.SQLiteConn) ([]byte, error) {
	rows, err := conn.Query("PRAGMA page_count", nil)
	if err != nil {
		return nil, err
	}
	count := make([]driver.Value, 1)
	if err := errors.Join(rows.Next(count), rows.Close()); err != nil || count[0] == int64(0) {
		return nil, err
	}
	return conn.Serialize("main")
}
