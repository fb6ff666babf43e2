package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"weir/fuse/crashfs"
)

// disk is a file system of a node's own.
type disk struct {
	fs    *crashfs.FS
	dir   string // the node's, in it
	ready int    // operations until there was that directory

	peer atomic.Pointer[disk] // the other node's

	mu   sync.Mutex
	seen []int // by operation: how many the peer had done before it
}

// mountDisks mounts the disks of a primary and its replica for as long as the test runs; the images may be nil.
func mountDisks(t *testing.T, mount mounting, primary, replica *crashfs.Image) (p, r *disk) {
	t.Helper()
	p, r = mount(t, primary), mount(t, replica)
	p.peer.Store(r)
	r.peer.Store(p)
	return p, r
}

// mounting is a way to mount a disk that begins with an image, or empty where that is nil.
type mounting func(t *testing.T, start *crashfs.Image) *disk

// mountDisk mounts a file system that records.
func mountDisk(t *testing.T, start *crashfs.Image) *disk {
	t.Helper()
	d, at := mountRecording(t, start)
	d.begin(t, at, start == nil)
	return d
}

// mountRecording mounts a file system that records at a directory.
func mountRecording(t *testing.T, start *crashfs.Image) (d *disk, at string) {
	t.Helper()
	base := t.TempDir()
	at, data := filepath.Join(base, "disk"), filepath.Join(base, "data")
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(data, 0o755)); err != nil {
		t.Fatal(err)
	}
	d = new(disk)
	var err error
	if d.fs, err = crashfs.Mount(at, data, start, d.note); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, at
}

// begin has the node's directory, which is new or not, in the root of the disk.
func (d *disk) begin(t *testing.T, root string, anew bool) {
	t.Helper()
	d.dir = filepath.Join(root, "node")
	if anew {
		if err := errors.Join(os.Mkdir(d.dir, 0o755), syncDir(root)); err != nil {
			t.Fatal(err)
		}
	}
	d.ready = d.fs.Len()
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// note notes how far the peer is.
func (d *disk) note(n int, o crashfs.Op) syscall.Errno {
	peer := d.peer.Load()
	if peer == nil || o.Kind == crashfs.Read {
		return 0
	}
	at := peer.fs.Len()
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.seen) <= n {
		d.seen = append(d.seen, at)
	}
	return 0
}

// peerAt is how many operations the peer had done when d had done n.
func (d *disk) peerAt(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n < len(d.seen) {
		return d.seen[n]
	}
	return d.peer.Load().fs.Len()
}

// recording is what a primary and its replica did to their disks in some lives, and what was committed when.
type recording struct {
	weir             string // the binary
	w                writing
	mount            mounting
	primary, replica *disk
	acks             []ack
	ends             []moment // of lives
}

// moment is how many operations the disks had done then.
type moment struct{ primary, replica int }

// ack is a commit that SQLite said was done.
type ack struct {
	at int   // operations of the primary until then
	n  int64 // the counter in the database
}

// recordLives has a primary and a replica live twice, with a clean end after each, and lets an app write in between.
func recordLives(t *testing.T, weir string, w writing, mount mounting, rnd *rand.Rand) *recording {
	t.Helper()
	r := &recording{weir: weir, w: w, mount: mount}
	r.primary, r.replica = mountDisks(t, mount, nil, nil)
	primary, replica := r.newNode(t, "primary", r.primary, false), r.newNode(t, "replica", r.replica, false)
	primary.lead()
	replica.follow(primary)
	for life := range 2 {
		primary.start()
		replica.start()
		r.write(t, primary, rnd, 8)
		if rnd.IntN(2) == 0 {
			awaitEqual(t, primary, replica)
		}
		if rnd.IntN(2) == 0 {
			replica.stop()
			r.write(t, primary, rnd, 2)
			primary.stop()
		} else {
			primary.stop()
			replica.stop()
		}
		r.ends = append(r.ends, moment{r.primary.fs.Len(), r.replica.fs.Len()})
		if life == 0 && rnd.IntN(2) == 0 {
			r.write(t, primary, rnd, 2)
		}
	}
	return r
}

// buildPowerWeir builds a weir that takes the kernel's name for the time since the machine was started from the file
// "boot" where it runs.
func buildPowerWeir(t *testing.T) string {
	t.Helper()
	weir := filepath.Join(t.TempDir(), "weir")
	mustCommand(t, "go", "build", "-ldflags", "-X weir/fuse/internal/state.bootFile=boot", "-o", weir, ".")
	return weir
}

// newNode makes a node of a disk. Its machine was started anew or not since the recording.
func (r *recording) newNode(t *testing.T, name string, d *disk, anew bool) *node {
	t.Helper()
	n := newNodeAt(t, name, d.dir)
	n.weir = r.weir
	if err := os.WriteFile(filepath.Join(n.work, "boot"), fmt.Appendf(nil, "anew: %t\n", anew), 0o644); err != nil {
		t.Fatal(err)
	}
	return n
}

// write commits step by step.
func (r *recording) write(t *testing.T, n *node, rnd *rand.Rand, steps int) {
	t.Helper()
	b := startBackground(t, "sqlite3", "-bail", "-cmd", ".timeout 20000", n.db)
	run := func(script string) int64 {
		if _, err := io.WriteString(b.stdin, script+"SELECT 'n', n FROM counter;\n"); err != nil {
			t.Fatal(err)
		}
		return nextCounter(t, b)
	}
	script := fmt.Sprintf("PRAGMA cache_size = %d; PRAGMA synchronous = %s; PRAGMA journal_mode = %s; PRAGMA wal_autocheckpoint = %d;\n",
		5+rnd.IntN(100), r.w.synchronous, r.w.mode, 5+rnd.IntN(100))
	if len(r.acks) == 0 {
		script += "BEGIN;" + auditSchema + "COMMIT;"
	}
	run(script)
	for range steps {
		count := run(powerStep(rnd))
		r.acks = append(r.acks, ack{r.primary.fs.Len(), count})
	}
	b.finish()
}

// nextCounter skips what pragmas print.
func nextCounter(t *testing.T, b *background) int64 {
	t.Helper()
	for {
		text, ok := strings.CutPrefix(b.next(), "n|")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// powerStep is one transaction after which the counter is one higher, and perhaps something else before it.
func powerStep(rnd *rand.Rand) string {
	before := []string{
		auditRollback,
		"PRAGMA wal_checkpoint;",
		"PRAGMA wal_checkpoint(TRUNCATE);",
		"VACUUM;",
		"UPDATE item SET filler = randomblob(1000);", // more pages than a small cache has
		"BEGIN; DELETE FROM item WHERE id % 3 = 0; UPDATE proof SET total = (SELECT coalesce(sum(v), 0) FROM item); COMMIT;",
	}
	if i := rnd.IntN(2 * len(before)); i < len(before) {
		return before[i] + auditStep
	}
	return auditStep
}

// acked is the highest counter that was committed before the primary's operation at.
func (r *recording) acked(at int) (n int64) {
	for _, a := range r.acks {
		if a.at <= at {
			n = max(n, a.n)
		}
	}
	return n
}
