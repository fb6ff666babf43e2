package stream

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"weir/fuse/crashfs"
)

var flagRewrite = flag.Bool("rewrite", false, "have TestOrder write testdata/order.txt anew")

// The operations of each durable step of a log are those in testdata/order.txt, in that order.
func TestOrder(t *testing.T) {
	fs, disk := crashfs.Record(t)
	root, err := os.OpenRoot(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l := &logLife{t: t, fs: fs}
	step := func(what string, f func() error) {
		t.Helper()
		if err := errors.Join(crashfs.Note(disk, "== "+what), f()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	open := func() (err error) {
		l.log, err = OpenLog(root, LogOptions{SegmentSize: 1 << 10, MaxBytes: 4 << 10})
		return err
	}
	sync := func() error { return l.log.Sync() }
	var pos Pos
	step("open a new log", open)
	step("claim it", func() error { _, err := l.log.Claim("here"); return err })
	step("append", func() error { defer func() { pos = l.log.Last() }(); return l.append() })
	step("sync", sync)
	step("sync what is synced", sync)
	step("receive some at once", func() error {
		other := openTestLog(t, t.TempDir(), LogOptions{})
		if err := other.Reset(l.log.Last()); err != nil {
			return err
		}
		more := &logLife{t: t, log: other}
		if err := errors.Join(more.append(), more.append()); err != nil {
			return err
		}
		payloads := payloadsOf(t, other, l.log.Last(), 2)
		return errors.Join(receiveAll(l.log, payloads...), l.log.Write())
	})
	step("append to a full segment", func() error {
		for l.log.active().base == (Pos{}) {
			if err := l.append(); err != nil {
				return err
			}
		}
		return nil
	})
	step("sync two segments", sync)
	step("drop the oldest segments", func() error {
		for l.log.First() == pos || l.log.Contains(pos) {
			if err := l.append(); err != nil {
				return err
			}
		}
		return nil
	})
	step("truncate", func() error {
		before := l.log.Last()
		return errors.Join(l.append(), l.log.TruncateAfter(before))
	})
	step("fork", func() error { _, err := l.log.Claim("there"); return err })
	step("reset", func() error { return l.log.Reset(Pos{TXID: 90, PostApplyChecksum: 1<<63 | 90}) })
	step("adopt a history", func() error { return l.log.Adopt(Lineage{ID: idA}) })
	step("close", func() error { return l.log.Close() })
	step("open it again", open)
	defer l.log.Close()
	crashfs.CompareOrder(t, filepath.Join("testdata", "order.txt"), crashfs.Order(fs.Ops(0)), *flagRewrite)
}
