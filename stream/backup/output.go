package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var (
	// ErrExists says that a file is there already.
	ErrExists = errors.New("it exists already")

	// ErrCompanion says that SQLite would read another database's journal or WAL with the file.
	ErrCompanion = errors.New("it belongs to another database of that name")
)

// An Output is a file that appears under its name only when it is complete and on the disk.
type Output struct {
	*os.File
	path    string // "": it never gets a name
	replace bool
	done    bool
}

// Create begins an output for path, where there must be nothing yet unless replace. SQLite's companions of a file at
// path must not exist in any case.
func Create(path string, replace bool) (*Output, error) {
	if err := checkPath(path, replace); err != nil {
		return nil, err
	}
	name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x.tmp", filepath.Base(path), rand.Uint32()))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &Output{File: f, path: path, replace: replace}, nil
}

// Temporary begins an output that has no name, and is gone when it is closed.
func Temporary() (*Output, error) {
	f, err := os.CreateTemp("", "weir-")
	if err != nil {
		return nil, err
	}
	return &Output{File: f, done: true}, os.Remove(f.Name())
}

func checkPath(path string, replace bool) error {
	if fi, err := os.Lstat(path); err == nil {
		if !replace {
			return fmt.Errorf("%s: %w", path, ErrExists)
		}
		if !fi.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", path)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, suffix := range []string{"-journal", "-wal"} {
		if fi, err := os.Lstat(path + suffix); err == nil && fi.Size() > 0 {
			return fmt.Errorf("%s: %w", path+suffix, ErrCompanion)
		}
	}
	return nil
}

// Commit syncs the output and gives it its name.
func (o *Output) Commit() error {
	if err := errors.Join(o.Sync(), checkPath(o.path, o.replace)); err != nil {
		return err
	}
	if err := o.rename(); err != nil {
		return err
	}
	o.done = true
	return errors.Join(syncDir(filepath.Dir(o.path)), o.File.Close())
}

// rename replaces nothing where it must not, whatever others do at the same time.
func (o *Output) rename() error {
	if o.replace {
		return os.Rename(o.Name(), o.path)
	}
	err := unix.Renameat2(unix.AT_FDCWD, o.Name(), unix.AT_FDCWD, o.path, unix.RENAME_NOREPLACE)
	switch err {
	case unix.EINVAL, unix.ENOSYS: // a file system that cannot
		return os.Rename(o.Name(), o.path)
	case unix.EEXIST:
		return fmt.Errorf("%s: %w", o.path, ErrExists)
	case nil:
		return nil
	}
	return fmt.Errorf("rename %s to %s: %w", o.Name(), o.path, err)
}

// Close drops the output, if it was not committed.
func (o *Output) Close() error {
	if o.done {
		o.File.Close() // nothing is lost with it
		return nil
	}
	o.done = true
	err := o.File.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return errors.Join(err, os.Remove(o.Name()))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
