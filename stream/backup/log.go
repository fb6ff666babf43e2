package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"weir/stream"
)

// Log is where transactions are read from, one after another: a weir's log or the LTX files of a directory.
type Log interface {
	First() stream.Pos // before the first transaction
	Last() stream.Pos  // after the last

	// Next returns the next LTX file of n bytes, which can be read until the call after, and io.EOF after the last.
	Next() (payload io.Reader, n int64, err error)
	Close() error
}

// tries is how often a log is opened whose beginning is being dropped.
const tries = 5

// OpenLog reads the log of a database that a weir serves, after a position, or with the zero one all of it.
// [stream.ErrNotInLog] says that it does not have it.
func OpenLog(ctx context.Context, src Source, after stream.Pos) (Log, error) {
	var l *stream.LogStream
	var err error
	for range tries {
		l, err = stream.OpenLogStream(ctx, src.URL, src.Path, after, stream.FollowOptions{Client: src.Client})
		if after != (stream.Pos{}) || !errors.Is(err, stream.ErrNotInLog) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", src.Path, err)
	}
	return l, nil
}

// stateDir is where weir has what it keeps beside a database.
const stateDir = ".weir"

// fileLog is a log on disk with its directory.
type fileLog struct {
	*stream.LogFiles
	dir *os.Root
}

// OpenFiles reads the log of a database that no weir has mounted now, as OpenLog does.
func OpenFiles(db string, after stream.Pos) (Log, error) {
	dir, err := os.OpenRoot(filepath.Join(filepath.Dir(db), stateDir, filepath.Base(db)))
	if err != nil {
		return nil, err
	}
	files, err := stream.OpenLogFiles(dir)
	if err == nil && after != (stream.Pos{}) {
		err = files.Seek(after)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log of %s: %w", db, err), dir.Close())
	}
	return &fileLog{files, dir}, nil
}

// Close closes all files.
func (l *fileLog) Close() error { return errors.Join(l.LogFiles.Close(), l.dir.Close()) }

// next is l.Next until ctx ends.
func next(ctx context.Context, l Log) (io.Reader, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	return l.Next()
}

// Txn describes a transaction of a log, or several in one file.
type Txn struct {
	Min, Max  stream.TXID
	Time      time.Time // of the last
	Pages     int       // in the file
	Bytes     int64     // the file's
	Size      uint32    // of the database after it, in pages
	PageSize  uint32    // bytes
	Pre, Post stream.Checksum
}

// Pos is the position after the transaction.
func (t Txn) Pos() stream.Pos { return stream.Pos{TXID: t.Max, PostApplyChecksum: t.Post} }

// List verifies each transaction of a log and describes it.
func List(ctx context.Context, l Log, each func(Txn) error) error {
	for {
		payload, n, err := next(ctx, l)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		t, err := describe(payload, n)
		if err == nil {
			err = each(t)
		}
		if err != nil {
			return err
		}
	}
}

// buffered reads a payload in larger pieces, all of it by the time that its end is seen.
func buffered(payload io.Reader) io.Reader { return bufio.NewReaderSize(payload, 64<<10) }

func describe(payload io.Reader, n int64) (t Txn, err error) {
	r, err := stream.NewRangeReader(buffered(payload), n)
	if err != nil {
		return t, err
	}
	for err == nil {
		t.Pages++
		_, _, err = r.Next()
	}
	if err != io.EOF {
		return t, err
	}
	h := r.Header()
	return Txn{
		Min: h.MinTXID, Max: h.MaxTXID, Time: time.UnixMilli(h.Timestamp), Pages: t.Pages - 1, Bytes: n,
		Size: h.Commit, PageSize: h.PageSize, Pre: h.PreApplyChecksum, Post: r.Post().PostApplyChecksum,
	}, nil
}
