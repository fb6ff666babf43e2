package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/superfly/ltx"
	"golang.org/x/sys/unix"

	"weir/stream"
)

// ltxFile is an LTX file with its name as others know it, too: the transactions that are in it. A file from TXID 1 on is
// all of a database.
type ltxFile struct {
	path     string
	min, max stream.TXID
}

// listFiles lists a directory's LTX files, by their first transaction, and then their last.
func listFiles(dir string) (files []ltxFile, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if first, last, err := ltx.ParseFilename(e.Name()); err == nil {
			files = append(files, ltxFile{filepath.Join(dir, e.Name()), first, last})
		}
	}
	slices.SortFunc(files, func(a, b ltxFile) int { return cmp.Or(cmp.Compare(a.min, b.min), cmp.Compare(a.max, b.max)) })
	return files, nil
}

// newest is the file that leads furthest.
func newest(files []ltxFile) ltxFile {
	return slices.MaxFunc(files, func(a, b ltxFile) int { return cmp.Compare(a.max, b.max) })
}

// header reads the file's header.
func (f ltxFile) header() (h ltx.Header, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return h, err
	}
	defer file.Close()
	b := make([]byte, ltx.HeaderSize)
	if _, err = io.ReadFull(file, b); err == nil {
		err = h.UnmarshalBinary(b)
	}
	if err == nil && (h.MinTXID != f.min || h.MaxTXID != f.max) {
		err = fmt.Errorf("it has the transactions %s to %s", h.MinTXID, h.MaxTXID)
	}
	if err != nil {
		return h, fmt.Errorf("%s: %w", f.path, err)
	}
	return h, nil
}

// describe verifies the file.
func (f ltxFile) describe() (Txn, error) {
	l := &dirLog{files: []ltxFile{f}}
	defer l.Close()
	payload, n, err := l.Next()
	if err != nil {
		return Txn{}, err
	}
	t, err := describe(payload, n)
	if err != nil {
		err = fmt.Errorf("%s: %w", f.path, err)
	}
	return t, err
}

// dirLog reads LTX files.
type dirLog struct {
	files []ltxFile
	open  *os.File
}

// OpenDirectory reads all LTX files of a directory, in the order of their names.
func OpenDirectory(dir string) (Log, error) {
	files, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	return &dirLog{files: files}, nil
}

// First and Last are not known before the files are read.
func (l *dirLog) First() stream.Pos { return stream.Pos{} }
func (l *dirLog) Last() stream.Pos  { return stream.Pos{} }

func (l *dirLog) Next() (io.Reader, int64, error) {
	if err := l.Close(); err != nil {
		return nil, 0, err
	}
	if len(l.files) == 0 {
		return nil, 0, io.EOF
	}
	file, err := os.Open(l.files[0].path)
	if err != nil {
		return nil, 0, err
	}
	l.open, l.files = file, l.files[1:]
	fi, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	return file, fi.Size(), nil
}

func (l *dirLog) Close() error {
	if l.open == nil {
		return nil
	}
	f := l.open
	l.open = nil
	return f.Close()
}

// batchSize is how many files get their names together.
const batchSize = 256

// batch makes files in a directory that get their names only when they are on the disk.
type batch struct {
	dir   string
	files []*Output
}

// add begins a file.
func (b *batch) add(name string) (*Output, error) {
	if len(b.files) == batchSize {
		if err := b.commit(); err != nil {
			return nil, err
		}
	}
	o, err := Create(filepath.Join(b.dir, name), true)
	if err == nil {
		b.files = append(b.files, o)
	}
	return o, err
}

// commit makes the files durable, all with one sync of their file system, and names them.
func (b *batch) commit() error {
	d, err := os.Open(b.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", b.dir, err)
	}
	for _, o := range b.files {
		if err := o.rename(); err != nil {
			return err
		}
		o.done = true
	}
	b.files = nil
	return d.Sync()
}

// drop removes the files that have no names yet.
func (b *batch) drop() error {
	var errs []error
	for _, o := range b.files {
		errs = append(errs, o.Close())
	}
	return errors.Join(errs...)
}
