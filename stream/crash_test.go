package stream

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/superfly/ltx"

	"weir/fuse/crashfs"
)

// logLife is a log on a file system that records, and where it was after each step of its life.
type logLife struct {
	t     *testing.T
	fs    *crashfs.FS
	log   *Log
	steps []logStep
}

// logStep is the end of a step.
type logStep struct {
	what   string
	ops    int // recorded by then
	last   Pos
	synced Pos // the newest position that a power failure must leave, zero after the log began anew
}

func (l *logLife) step(what string, f func() error) {
	l.t.Helper()
	if err := f(); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	s := logStep{what: what, ops: l.fs.Len(), last: l.log.Last()}
	switch {
	case what == "sync":
		s.synced = s.last
	case len(l.steps) > 0 && what == "append":
		s.synced = l.steps[len(l.steps)-1].synced
	}
	l.steps = append(l.steps, s)
}

// append appends a transaction of one page.
func (l *logLife) append() error {
	last := l.log.Last()
	w, err := l.log.Begin(ltx.Header{Version: ltx.Version, PageSize: 512, Commit: 1, MinTXID: last.TXID + 1, MaxTXID: last.TXID + 1, PreApplyChecksum: last.PostApplyChecksum})
	if err != nil {
		return err
	}
	page := make([]byte, 512)
	rand.Read(page)
	if err := w.WritePage(1, page); err != nil {
		return err
	}
	_, err = w.Commit(PageSum(1, page))
	l.log.Publish()
	return err
}

// live is all that happens to a log: segments that fill and are dropped, syncs, ends cut off, new histories and
// identities.
func (l *logLife) live() {
	appends := func(n int) {
		for range n {
			l.step("append", l.append)
		}
	}
	l.step("claim", func() error { _, err := l.log.Claim("here"); return err })
	appends(4)
	l.step("sync", l.log.Sync)
	appends(6)
	l.step("truncate", func() error { return l.log.TruncateAfter(l.steps[len(l.steps)-3].last) })
	appends(2)
	l.step("sync", l.log.Sync)
	l.step("fork", func() error { _, err := l.log.Claim("there"); return err })
	appends(3)
	l.step("reset", func() error { return l.log.Reset(Pos{TXID: 90, PostApplyChecksum: 1<<63 | 90}) })
	appends(2)
	l.step("sync", l.log.Sync)
	l.step("adopt", func() error { return l.log.Adopt(Lineage{ID: idA}) })
	appends(2)
	l.step("adopt a fork", func() error { return l.log.Adopt(l.log.Lineage().fork(l.log.Last())) })
	appends(2)
	l.step("sync", l.log.Sync)
}

// A log's process is killed after each operation, or its power fails there. The log comes back at the end of the step
// before, or of the one in progress; after a power failure at a position that it had, not before what was synced; and it
// can be written to. A log that begins anew may be at the zero position in between.
func TestLogCrashAfterOperation(t *testing.T) {
	base := t.TempDir()
	fs, disk := crashfs.Record(t)
	root, err := os.OpenRoot(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l := &logLife{t: t, fs: fs}
	if l.log, err = OpenLog(root, LogOptions{SegmentSize: 1 << 10, MaxBytes: 4 << 10}); err != nil {
		t.Fatal(err)
	}
	defer l.log.Close()
	l.steps = []logStep{{what: "open", ops: fs.Len()}}
	l.live()
	for n := l.steps[0].ops; n <= fs.Len(); n++ {
		im, err := fs.After(n, filepath.Join(base, "killed"))
		if err != nil {
			t.Fatal(err)
		}
		l.killed(n, im)
		for seed := range uint64(3) {
			im, err := fs.PowerLoss(n, crashfs.RandomLoss(seed<<32|uint64(n)), filepath.Join(base, "lost"))
			if err != nil {
				t.Fatal(err)
			}
			l.lostPower(n, im)
		}
	}
	t.Logf("%d operations", fs.Len())
}

// at returns the step that was done after n operations, and the next.
func (l *logLife) at(n int) (done, next logStep) {
	i := slices.IndexFunc(l.steps, func(s logStep) bool { return s.ops > n })
	if i < 0 {
		i = len(l.steps)
	}
	return l.steps[i-1], l.steps[min(i, len(l.steps)-1)]
}

func (l *logLife) killed(n int, im *crashfs.Image) {
	l.t.Helper()
	done, next := l.at(n)
	got := l.reopen(n, im)
	anew := got == Pos{} && (next.what == "reset" || next.what == "adopt")
	if got != done.last && got != next.last && !anew {
		l.t.Errorf("killed after operation %d, in %q after %q: got a log at %s, want %s or %s", n, next.what, done.what, got, done.last, next.last)
	}
}

func (l *logLife) lostPower(n int, im *crashfs.Image) {
	l.t.Helper()
	done, next := l.at(n)
	got := l.reopen(n, im)
	known := got == Pos{} || slices.ContainsFunc(l.steps, func(s logStep) bool { return s.last == got && s.ops <= max(n, next.ops) })
	kept := got.TXID >= done.synced.TXID || next.what != "append" && next.what != "sync"
	if !known || !kept {
		l.t.Errorf("power lost after operation %d, in %q after %q: got a log at %s, want one that it was at, from %s on", n, next.what, done.what, got, done.synced)
	}
}

// reopen opens what a crash left, appends to it, opens it again, and returns where it was at first.
func (l *logLife) reopen(n int, im *crashfs.Image) Pos {
	l.t.Helper()
	dir := l.t.TempDir()
	if err := errors.Join(im.CopyTo(dir), im.Remove()); err != nil {
		l.t.Fatal(err)
	}
	life := &logLife{t: l.t, log: openTestLog(l.t, dir, LogOptions{})}
	was := life.log.Last()
	if err := errors.Join(life.append(), life.log.Close()); err != nil {
		l.t.Fatalf("after operation %d: %v", n, err)
	}
	again := openTestLog(l.t, dir, LogOptions{})
	defer again.Close()
	if again.Last().TXID != was.TXID+1 {
		l.t.Errorf("after operation %d: got a log at %s after a transaction after %s", n, again.Last(), was)
	}
	return was
}
