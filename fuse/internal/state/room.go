package state

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"weir/stream"
)

// A log that is told no limits takes a tenth of the file system, or maxLog where that is less: the disk is the
// database's. Segments are what is dropped at a time.
const (
	maxLog     = 1 << 30
	maxSegment = 16 << 20
	logShare   = 10
	segments   = 8 // in a log that is small
)

// LimitLog sets the limits of a log in dir that opt leaves open.
func LimitLog(opt stream.LogOptions, dir *os.Root) (stream.LogOptions, error) {
	d, err := dir.Open(".")
	if err != nil {
		return opt, err
	}
	var st unix.Statfs_t
	err = unix.Fstatfs(int(d.Fd()), &st)
	if err = errors.Join(err, d.Close()); err != nil {
		return opt, fmt.Errorf("size of the file system of %s: %w", dir.Name(), err)
	}
	return limitLog(opt, int64(st.Blocks)*st.Bsize), nil
}

// limitLog does that, given the size of the file system in bytes, 0 where it does not say.
func limitLog(opt stream.LogOptions, size int64) stream.LogOptions {
	if size == 0 {
		return opt
	}
	if opt.MaxBytes == 0 {
		opt.MaxBytes = min(maxLog, size/logShare)
	}
	if opt.SegmentSize == 0 {
		opt.SegmentSize = min(maxSegment, opt.MaxBytes/segments)
	}
	return opt
}
