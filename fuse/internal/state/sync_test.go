package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/superfly/ltx"

	"weir/fuse/crashfs"
	"weir/stream"
)

// After a sync that failed the next one is not believed: the log begins anew, and what it says is durable then is there
// after a power failure.
func TestLogSyncFails(t *testing.T) {
	base := t.TempDir()
	at, data := filepath.Join(base, "disk"), filepath.Join(base, "data")
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(data, 0o755)); err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	f, err := crashfs.Mount(at, data, nil, func(_ int, o crashfs.Op) syscall.Errno {
		if broken.Load() && strings.HasPrefix(o.String(), "f") && strings.Contains(o.String(), "sync") && strings.Contains(o.String(), "log-") {
			return syscall.EIO
		}
		return 0
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	pos := failToSync(t, at, &broken)
	im, err := f.PowerLoss(f.Len(), crashfs.RandomLoss(1), filepath.Join(base, "image"))
	if err != nil {
		t.Fatal(err)
	}
	after := filepath.Join(base, "after")
	if err := errors.Join(os.Mkdir(after, 0o755), im.CopyTo(after)); err != nil {
		t.Fatal(err)
	}
	dir, err := os.OpenRoot(after)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := stream.OpenLog(dir, stream.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Last() != pos {
		t.Errorf("after a power failure: got a log at %s, want %s, which was synced", l.Last(), pos)
	}
}

// failToSync writes a transaction whose sync fails once, and returns its position.
func failToSync(t *testing.T, at string, broken *atomic.Bool) stream.Pos {
	t.Helper()
	dir, err := os.OpenRoot(at)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	l, err := stream.OpenLog(dir, stream.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	page := make([]byte, 512)
	w, err := l.Begin(ltx.Header{Version: ltx.Version, PageSize: 512, Commit: 1, MinTXID: 1, MaxTXID: 1})
	if err == nil {
		err = w.WritePage(1, page)
	}
	if err != nil {
		t.Fatal(err)
	}
	pos, err := w.Commit(stream.PageSum(1, page))
	if err != nil {
		t.Fatal(err)
	}
	l.Publish()
	broken.Store(true)
	if err := l.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v, want an I/O error", err)
	}
	broken.Store(false)
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	if l.First() != pos || l.Last() != pos || l.Published() != pos {
		t.Errorf("got a log from %s to %s, want it to begin anew at %s", l.First(), l.Last(), pos)
	}
	return pos
}
