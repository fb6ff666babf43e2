package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"weir/stream"
	"weir/stream/backup"
)

// logSource is where transactions are: at a weir, in the files of a database that no weir has mounted, or in a directory
// of LTX files.
type logSource struct {
	source        // without a daemonClient where it is on disk
	dir    string // of LTX files
}

// findLog finds what DB, URL or DIR on a command line means.
func findLog(ctx context.Context, arg string) (logSource, error) {
	if fi, err := os.Stat(arg); err == nil && fi.IsDir() {
		return logSource{dir: arg}, nil
	}
	src, err := findSource(ctx, arg)
	if !errors.Is(err, errNoDaemon) {
		return logSource{source: src}, err
	}
	path, pathErr := cleanPath(arg)
	if pathErr != nil {
		return logSource{}, usageError{pathErr}
	}
	if _, fileErr := os.Stat(filepath.Join(filepath.Dir(path), ".weir", filepath.Base(path))); fileErr != nil {
		return logSource{}, err // its hint is the better one
	}
	return logSource{source: source{path: path}}, nil
}

// open opens the log after a position, or with the zero one all of it.
func (s logSource) open(ctx context.Context, after stream.Pos) (backup.Log, error) {
	switch {
	case s.dir != "":
		return backup.OpenDirectory(s.dir)
	case s.daemonClient == nil:
		return backup.OpenFiles(s.path, after)
	}
	return backup.OpenLog(ctx, s.backup(), after)
}

// copy copies the database.
func (s logSource) copy(ctx context.Context, f *os.File, progress func(done, total uint64)) (stream.SnapshotHeader, error) {
	if s.daemonClient != nil {
		return backup.Copy(ctx, s.backup(), f, progress)
	}
	return stream.SnapshotHeader{}, hint(fmt.Errorf("%s: the log does not begin with the whole database, which is needed first", s.path),
		"start weir, and export from the live database")
}

// logHint adds to an error about a log what to do.
func logHint(err error) error {
	switch {
	case errors.Is(err, backup.ErrOtherHistory):
		return hint(err, "export into an empty directory")
	case errors.Is(err, backup.ErrNotReached):
		return hint(err, "ask for one of these, or give a directory that weir log -o has exported to in time")
	case errors.Is(err, fs.ErrNotExist):
		return hint(err, "give a database that weir has or had mounted, a URL, or a directory of LTX files")
	}
	return sourceHint(err)
}
