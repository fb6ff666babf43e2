package capture

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/fuse/crashfs"
	"weir/fuse/internal/dbfile"
	"weir/stream"
)

var flagRewrite = flag.Bool("rewrite", false, "have TestOrder write testdata/order.txt anew")

// The operations of each durable step of capture, the app's among them, are those in testdata/order.txt, in that order.
func TestOrder(t *testing.T) {
	f, disk := crashfs.Record(t)
	r := &rig{TB: t, dir: disk, syncEvery: time.Hour}
	r.shell("CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50) INSERT INTO t SELECT randomblob(2000) FROM n;")
	from := f.Len()
	(&orderLife{rig: r}).live()
	crashfs.CompareOrder(t, filepath.Join("testdata", "order.txt"), crashfs.Order(f.Ops(from)), *flagRewrite)
}

// orderLife is a database that is captured step by step.
type orderLife struct{ *rig }

func (o *orderLife) step(what string, do func()) {
	o.Helper()
	o.note("== " + what)
	do()
}

func (o *orderLife) note(text string) {
	o.Helper()
	if err := crashfs.Note(o.dir, text); err != nil {
		o.Fatal(err)
	}
}

// op is an operation of the app's that weir lets through, with what it has published by then.
func (o *orderLife) op(do func() error) func() error {
	return func() error {
		if o.d.log.Published() == o.d.log.Last() {
			o.note("the log's end is published")
		} else {
			o.note("the log's end is not published")
		}
		return do()
	}
}

func (o *orderLife) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

func (o *orderLife) live() {
	o.step("open without a log", o.open)
	o.step("rollback: the app writes pages under a journal", func() {
		o.journal(1)
		o.write(5, filled(50))
	})
	o.step("rollback: the journal ends", func() {
		o.must(o.d.Remove(dbfile.RoleJournal, o.op(func() error { return os.Remove(o.path("-journal")) })))
		o.check(2)
	})
	o.commit(3, 6, 7)
	o.step("WAL: a checkpoint writes pages", func() {
		o.write(6, filled(6))
		o.write(7, filled(7))
	})
	o.step("WAL: the checkpoint ends", o.endCheckpoint)
	o.step("WAL: it is removed", o.removeWAL)
	o.step("the log is synced, as each second", func() { o.must(o.d.log.Sync()) })
	o.commit(4, 8)
	o.step("WAL: a checkpoint ends that has yet to write", o.endCheckpoint)
	o.write(8, filled(8))
	o.removeWAL()
	o.step("close", o.close)
	o.step("open again", o.open)
	o.step("close", o.close)
	o.step("the app writes while weir is away", func() {
		f, err := os.OpenFile(o.path(""), os.O_WRONLY, 0)
		o.must(err)
		_, err = f.WriteAt(filled(90), 8*4096)
		o.must(errors.Join(err, f.Close()))
	})
	o.step("open and catch up", o.open)
	o.check(5)
	o.step("close", o.close)
}

// commit is a transaction of the app's in a new WAL.
func (o *orderLife) commit(txid stream.TXID, pgnos ...uint32) {
	frames, index := o.frames(pgnos...)
	o.step("WAL: the app commits", func() {
		o.writeWAL(frames)
		o.writeIndex(index)
		o.d.lookNow()
		o.check(txid)
	})
}

func (o *orderLife) endCheckpoint() {
	size := int64(o.d.sums.Len()) * 4096
	o.must(o.d.Truncate(size, o.op(func() error { return o.app.Truncate(size) })))
}

func (o *orderLife) removeWAL() {
	o.must(o.d.Remove(dbfile.RoleWAL, o.op(func() error { return os.Remove(o.path("-wal")) })))
	o.must(o.d.Remove(dbfile.RoleSHM, func() error { return os.Remove(o.path("-shm")) }))
}
