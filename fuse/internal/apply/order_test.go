package apply

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"weir/fuse/crashfs"
	"weir/fuse/internal/dbfile"
	"weir/stream"
)

var flagRewrite = flag.Bool("rewrite", false, "have TestOrder write testdata/order.txt anew")

// orderVar names, for the child, the directory of the replica.
const orderVar = "WEIR_APPLY_ORDER"

// The operations of each durable step of a replica, and what readers are shown by the wal-index, are those in
// testdata/order.txt, in that order.
func TestOrder(t *testing.T) {
	f, disk := crashfs.Record(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestOrderScenario$", "-test.v")
	cmd.Env = append(os.Environ(), orderVar+"="+disk)
	if got, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(got, []byte("--- PASS")) {
		t.Fatalf("scenario: %v\n%s", err, got)
	}
	crashfs.CompareOrder(t, filepath.Join("testdata", "order.txt"), crashfs.Order(f.Ops(0)), *flagRewrite)
}

// notingMount notes what readers are shown.
type notingMount struct {
	Mount
	disk string
	log  *stream.Log
}

// Store notes what is stored in the wal-index.
func (m notingMount) Store(name string, off int64, b []byte) error {
	text := "show " + indexField(off)
	if m.log.Published() != m.log.Last() {
		text += ", the log's end is not published"
	}
	return errors.Join(crashfs.Note(m.disk, text), m.Mount.Store(name, off, b))
}

// indexField is what is at an offset of the wal-index.
func indexField(off int64) string {
	switch {
	case off < dbfile.IndexHeaderSize:
		return "the first wal-index header"
	case off < 2*dbfile.IndexHeaderSize:
		return "the second wal-index header"
	case off == dbfile.BackfillOffset:
		return "nBackfill"
	case off == dbfile.BackfillAttemptedOffset:
		return "nBackfillAttempted"
	case off < ckptInfoEnd:
		return "a read-mark"
	}
	return "frames in the wal-index"
}

// TestOrderScenario is the life of a replica that TestOrder records, step by step. It runs in a process of its own, for who
// serves a file system must not map files of it.
func TestOrderScenario(t *testing.T) {
	disk := os.Getenv(orderVar)
	if disk == "" {
		t.Skip("it runs as a part of TestOrder")
	}
	o := &orderLife{T: t, disk: disk, s: newSource(t, 512, "delete")}
	apply := func() {
		payload := o.s.grow(20)
		o.step("apply", func() { o.r.apply(payload) })
	}
	o.step("open without a database", o.open)
	o.step("snapshot of a whole database", func() { o.snapshot(nil) })
	apply()
	o.step("checkpoint", func() { o.checkpoint(manyFrames) })
	apply()
	o.step("checkpoint, and restart of the WAL", func() { o.checkpoint(1) })
	payload := o.s.shrink()
	o.step("apply fewer pages", func() { o.r.apply(payload) })
	o.step("apply a backlog", func() { o.r.mustApplyAll(o.s.grow(5), o.s.churn(), o.s.grow(5)) })
	o.step("checkpoint of fewer pages", func() { o.checkpoint(manyFrames) })
	o.step("delta", func() {
		o.s.churn()
		o.snapshot(o.r.Sums())
	})
	o.step("close", func() { o.r.close() })
	o.step("open again", o.open)
	o.step("snapshot with another page size", func() {
		o.s.exec("PRAGMA page_size=1024")
		o.s.exec("VACUUM")
		o.s.pageSize, o.s.state = 1024, nil
		o.s.churn()
		o.snapshot(nil)
	})
	apply()
	o.s.exec("BEGIN")
	o.s.exec("INSERT INTO t(v) VALUES(zeroblob(%d))", 2*tailBuffer)
	payload = o.s.commit()
	o.step("apply more frames than are gathered", func() { o.r.apply(payload) })
	o.step("close", func() { o.r.close() })
}

// manyFrames is more than there are: nothing is checkpointed by itself.
const manyFrames = 1 << 20

// orderLife is a replica that lives step by step.
type orderLife struct {
	*testing.T
	disk string
	s    *source
	r    *replica
}

func (o *orderLife) step(what string, do func()) {
	o.Helper()
	if err := crashfs.Note(o.disk, "== "+what); err != nil {
		o.Fatal(err)
	}
	do()
}

func (o *orderLife) open() {
	o.Helper()
	o.r = openReplicaWith(o.T, o.disk, Options{CheckpointFrames: manyFrames})
	o.noteMount()
}

// noteMount has the replica's mount note. Nothing else runs on it.
func (o *orderLife) noteMount() {
	o.r.mu.Lock()
	defer o.r.mu.Unlock()
	m := notingMount{Mount: o.r.mount, disk: o.disk, log: o.r.log}
	o.r.mount, o.r.tail.mount, o.r.index.mount = m, m, m
}

// checkpoint checkpoints as where so many frames are to be.
func (o *orderLife) checkpoint(frames uint32) {
	o.Helper()
	o.r.checkpointFrames = frames
	defer func() { o.r.checkpointFrames = manyFrames }()
	if err := o.r.checkpoint(); err != nil {
		o.Fatal(err)
	}
}

func (o *orderLife) snapshot(have *stream.Sums) {
	o.Helper()
	if err := o.r.snapshotOf(o.s, testID, o.s.state, o.s.pos, have); err != nil {
		o.Fatal(err)
	}
}
