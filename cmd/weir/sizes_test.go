package main

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/fuse/crashfs"
)

var flagSizesTime = flag.Duration("sizestime", 4*time.Second, "how long TestSizeAfterCut has files grow and shrink")

// indexState is what the header of a wal-index says (https://sqlite.org/walformat.html#the_wal_index_header).
type indexState struct {
	pageSize int64
	mxFrame  int64
	salt     uint64
}

// readIndex reads the header of a wal-index. Its copies are equal, unless it is being written.
func readIndex(db string) (s indexState, err error) {
	f, err := os.Open(db + "-shm")
	if err != nil {
		return s, err
	}
	defer f.Close()
	for b := make([]byte, 96); ; {
		if _, err := f.ReadAt(b, 0); err != nil {
			return s, err
		}
		if string(b[:48]) != string(b[48:]) {
			continue
		}
		size := int64(binary.NativeEndian.Uint16(b[14:]))
		return indexState{size&0xfe00 + size&1<<16, int64(binary.NativeEndian.Uint32(b[16:])), binary.NativeEndian.Uint64(b[32:])}, nil
	}
}

// readLastFrames opens a WAL and reads, some times, the frame that the wal-index has as the last. It must be there as long as
// the WAL is the same.
func readLastFrames(db string) error {
	f, err := os.Open(db + "-wal")
	if err != nil {
		return err
	}
	defer f.Close()
	for range 2 {
		is, err := readIndex(db)
		if err != nil {
			return err
		}
		frame := make([]byte, 24+is.pageSize)
		off := 32 + (is.mxFrame-1)*int64(len(frame))
		n, err := f.ReadAt(frame, off)
		if err == nil {
			continue
		}
		now, again := readIndex(db)
		if again != nil || err == io.EOF && now.salt != is.salt {
			return again
		}
		return fmt.Errorf("read frame %d: %d of %d bytes at %d: %w", is.mxFrame, n, len(frame), off, err)
	}
	return nil
}

// childFrames reads the end of a WAL again and again until its input ends.
func childFrames(db string) error {
	stop := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	for {
		if err := readLastFrames(db); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-time.After(time.Millisecond): // nobody has it open then, and it can be forgotten
		}
	}
}

// lateDisk mounts a file system that is slow to tell the size of a WAL now and then.
func lateDisk(t *testing.T) (at string) {
	t.Helper()
	base := t.TempDir()
	at = filepath.Join(base, "disk")
	data := filepath.Join(base, "data")
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(data, 0o755)); err != nil {
		t.Fatal(err)
	}
	f, err := crashfs.Mount(at, data, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Late(func(path string) {
		if strings.HasSuffix(path, "-wal") && rand.IntN(2) == 0 {
			time.Sleep(lateness)
		}
	})
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return at
}

const lateness = 5 * time.Millisecond

// forgetting has the kernel forget names and files of a mount that nobody has open, now and then, by remounting a mount of
// the same file system: what it knows of a file's size is what it is told anew then.
func forgetting(t *testing.T, dir string) (stop func()) {
	t.Helper()
	at := t.TempDir()
	if err := unix.Mount(dir, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var forget sync.WaitGroup
	forget.Go(func() {
		// An answer that is on its way while a file is forgotten is not trusted, so it must not be too often.
		for tick := time.NewTicker(4 * lateness); ; {
			select {
			case <-ended:
				tick.Stop()
				return
			case <-tick.C:
			}
			if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
				t.Errorf("remount: %v", err)
				return
			}
		}
	})
	return func() {
		close(ended)
		forget.Wait()
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}

// holdMarks locks the read-marks of a replica as readers do, all but that of readers without the WAL. As long as that is so
// the WAL grows. A reader has the WAL open, too, and the kernel could not forget it.
func holdMarks(t *testing.T, db string) (end func()) {
	t.Helper()
	f, err := os.Open(db + "-shm")
	if err != nil {
		t.Fatal(err)
	}
	// They are at 123 and on (WAL_READ_LOCK in SQLite's source). The replica has each for a moment now and then.
	lock := &unix.Flock_t{Type: unix.F_RDLCK, Start: 124, Len: 4}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, lock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() }) // it may be closed by then
	return func() { f.Close() }
}

// The files of a replica grow and shrink under readers that come, look and go, and what the kernel is told of their sizes is
// late. What the wal-index says is there, is there.
func TestSizeAfterCut(t *testing.T) {
	disk := lateDisk(t)
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
	replica := newReplica(t, primary).onDisk(disk)
	replica.start("-passthrough", "off")
	awaitEqual(t, primary, replica)
	t.Cleanup(forgetting(t, replica.dir))

	frames := startBackground(t, "frames", replica.db)
	const insert = "INSERT INTO t(b) VALUES(randomblob(3000));"
	for end := time.Now().Add(*flagSizesTime); time.Now().Before(end); {
		release := holdMarks(t, replica.db)
		for range 60 {
			shell(t, primary.db, "PRAGMA synchronous=OFF;"+insert)
		}
		release()
		if got := shell(t, replica.db, "PRAGMA integrity_check"); got != "ok" {
			t.Error(got)
		}
		shell(t, primary.db, "DELETE FROM t WHERE a%7; VACUUM;"+strings.Repeat(insert, 30))
	}
	awaitEqual(t, primary, replica)
	frames.finish()
}
