package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"weir/fuse/crashfs"
	"weir/fuse/fusetest"
	"weir/fuse/internal/capture"
	"weir/stream"
)

var flagCrashes = flag.Int("crashes", 1, "after how many operations of a kind on each file TestCrashAfterOperation crashes; 0: after all")

// node is the directory of the database on a disk.
const node = "node"

// recording is what capture and an app did to a file system, and the states that the app committed.
type recording struct {
	*testing.T
	base   string // directory for all files
	disk   *crashfs.FS
	dir    string // of the database, on it
	sqlite *fusetest.Process
	states []appState
}

// appState is the end of a statement of the app, and the database then.
type appState struct {
	sql   string
	ops   int    // recorded by then
	seen  bool   // weir was there
	late  bool   // weir sees the commit only after it is done
	pages []byte // all of them
}

// With persist a journal ends by a write in place, which is seen afterwards.
const persist = "PRAGMA journal_mode = PERSIST"

// lives are the statements of the app, each at most one commit. Between two lives weir is away, and the app is not.
var lives = [][]string{
	{
		"PRAGMA journal_mode = DELETE",
		"CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)",
		"WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20) INSERT INTO t SELECT i, randomblob(900) FROM n",
		"BEGIN; UPDATE t SET v = randomblob(900); ROLLBACK",
		"UPDATE t SET v = randomblob(900) WHERE id % 3 = 0",
		"DELETE FROM t WHERE id % 4 = 0",
		"VACUUM",
		"PRAGMA journal_mode = TRUNCATE",
		"UPDATE t SET v = randomblob(500)",
		persist,
		"UPDATE t SET v = randomblob(900) WHERE id < 9",
		"INSERT INTO t (v) VALUES (randomblob(100))",
	},
	{
		"PRAGMA journal_mode = WAL",
		"PRAGMA wal_autocheckpoint = 12",
		"INSERT INTO t (v) VALUES (randomblob(3000))",
		"UPDATE t SET v = randomblob(900)",
		"INSERT INTO t (v) VALUES (randomblob(10))",
		"PRAGMA wal_checkpoint(RESTART)",
		"DELETE FROM t WHERE id % 3 = 0",
		"VACUUM",
		"BEGIN; UPDATE t SET v = randomblob(900); ROLLBACK",
		"INSERT INTO t (v) VALUES (randomblob(800))",
		"PRAGMA wal_checkpoint(TRUNCATE)",
		"INSERT INTO t (v) VALUES (randomblob(800))",
		"PRAGMA journal_mode = DELETE",
		"INSERT INTO t (v) VALUES (randomblob(800))",
		"PRAGMA journal_mode = WAL",
		"INSERT INTO t (v) VALUES (randomblob(800))",
	},
	{
		"INSERT INTO t (v) VALUES (randomblob(700))",
	},
}

// away are the statements in between. The app ends without closing the database, so that its WAL stays.
var away = [][]string{
	{"INSERT INTO t (v) VALUES (randomblob(600))"},
	{"INSERT INTO t (v) VALUES (randomblob(500))", "UPDATE t SET v = randomblob(500) WHERE id < 5"},
}

// record lets weir and the app live.
func record(t *testing.T) *recording {
	r := &recording{T: t, base: t.TempDir()}
	r.mountDisk()
	r.sqlite = r.start()
	r.note("nothing", false)
	weir := r.startWeir()
	for i, statements := range lives {
		r.ask(weir, "mount", r.dir)
		r.write(true, statements)
		r.ask(weir, "unmount", "")
		if i < len(away) {
			r.write(false, away[i])
		}
	}
	return r
}

// mountDisk mounts the file system that records, for as long as the test runs.
func (r *recording) mountDisk() {
	r.Helper()
	at, files := filepath.Join(r.base, "disk"), filepath.Join(r.base, "record")
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(files, 0o755)); err != nil {
		r.Fatal(err)
	}
	var err error
	if r.disk, err = crashfs.Mount(at, files, nil, nil); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() {
		if err := r.disk.Close(); err != nil {
			r.Error(err)
		}
	})
	r.dir = filepath.Join(at, node)
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		r.Fatal(err)
	}
	root, err := os.Open(at)
	if err == nil {
		err = errors.Join(root.Sync(), root.Close())
	}
	if err != nil {
		r.Fatal(err)
	}
}

// startWeir starts a process that can mount, and whose mount ends with the test.
func (r *recording) startWeir() *fusetest.Process {
	r.Helper()
	weir := r.start()
	r.Cleanup(func() {
		weir.Kill()
		unix.Unmount(r.dir, unix.MNT_DETACH) // it fails where weir has ended as it should
	})
	return weir
}

func (r *recording) start() *fusetest.Process {
	r.Helper()
	p, err := fusetest.Start()
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(p.Kill)
	return p
}

func (r *recording) ask(p *fusetest.Process, verb, arg string) {
	r.Helper()
	a, err := p.Ask(verb, arg)
	if err == nil && a.Err != "" {
		err = errors.New(a.Err)
	}
	if err != nil {
		r.Fatalf("%s %s: %v", verb, arg, err)
	}
}

// write has an app of its own run statements. What is committed is durable with synchronous=EXTRA; a small cache spills.
// It closes the database where weir is there.
func (r *recording) write(seen bool, statements []string) {
	r.Helper()
	app := r.start()
	r.ask(app, "open", "file:"+filepath.Join(r.dir, "db"))
	r.ask(app, "sql", "PRAGMA page_size = 512; PRAGMA synchronous = EXTRA; PRAGMA cache_size = 5")
	for _, s := range statements {
		r.ask(app, "sql", s)
		r.note(s, seen)
	}
	if !seen {
		app.Kill()
	} else if err := app.End(); err != nil {
		r.Fatal(err)
	}
}

// note notes the state after a statement.
func (r *recording) note(sql string, seen bool) {
	r.Helper()
	s := appState{sql: sql, ops: r.disk.Len(), seen: seen}
	if n := len(r.states); n > 0 {
		s.pages = r.pages(r.dir)
		s.late = seen && (sql == persist || r.states[n-1].late)
	}
	r.states = append(r.states, s)
}

// pages are those of the database in dir, as SQLite reads them.
func (r *recording) pages(dir string) []byte {
	r.Helper()
	file := filepath.Join(r.base, "pages")
	r.ask(r.sqlite, "dump", filepath.Join(dir, "db")+" "+file)
	data, err := os.ReadFile(file)
	if err != nil {
		r.Fatal(err)
	}
	return data
}

// Capture and the app are killed after each operation on their files, or the power fails there. SQLite by itself then has
// the state of a commit: the last that it acknowledged, or the one in progress. Capture comes up with that state at the
// end of its log. After a kill the log also leads to it from each state that was captured and acknowledged, but for
// journal_mode=PERSIST, whose commits are seen late. After a power failure it may begin anew, but from what it has of those
// states it leads to no other. Then it catches up with a commit that it does not see, by one transaction.
func TestCrashAfterOperation(t *testing.T) {
	r := record(t)
	crashes, anew := 0, 0
	for _, n := range r.moments() {
		for _, loss := range []*crashfs.Loss{nil, lossAt(n)} {
			c := &crash{recording: r, n: n, loss: loss}
			if !t.Run(c.String(), c.run) {
				return
			}
			crashes++
			if c.anew {
				anew++
			}
		}
	}
	t.Logf("%d crashes at %d operations; the log began anew after %d", crashes, r.disk.Len(), anew)
}

const pageWrite = "write " + node + "/db"

// moments are numbers of operations to crash after. Most operations write journals; those of each kind on each file count
// alike, but those that the order of log and database is about count more.
func (r *recording) moments() (moments []int) {
	of := make(map[string][]int)
	for i, o := range r.disk.Ops(0) {
		what := o.Kind.String() + " " + o.Path
		if i >= r.states[0].ops {
			of[what] = append(of[what], i+1)
		}
	}
	for what, all := range of {
		few := *flagCrashes
		if what == pageWrite || strings.HasPrefix(what, "write node/.weir/db/log-") {
			few *= 10
		}
		if few = min(few, len(all)); few == 0 {
			few = len(all)
		}
		for i := range few {
			moments = append(moments, all[(2*i+1)*len(all)/(2*few)])
		}
	}
	slices.Sort(moments)
	return moments
}

func lossAt(n int) *crashfs.Loss {
	loss := crashfs.RandomLoss(uint64(n))
	return &loss
}

// crash is one crash, and what comes after it.
type crash struct {
	*recording
	n    int           // operations before it
	loss *crashfs.Loss // nil: the power stays

	dir  string // of the database afterwards
	d    *capture.Database
	stop func()     // closes d
	last stream.Pos // of the log when d was opened
	anew bool       // the log began anew
}

func (c *crash) String() string {
	done, next := c.between()
	how := "killed"
	if c.loss != nil {
		how = "power lost (" + c.loss.String() + ")"
	}
	return fmt.Sprintf("%s after operation %d, in %q after %q", how, c.n, next.sql, done.sql)
}

// between returns the last state that was acknowledged, and the one after it.
func (c *crash) between() (done, next appState) {
	i := 0
	for i+1 < len(c.states) && c.states[i+1].ops <= c.n {
		i++
	}
	return c.states[i], c.states[min(i+1, len(c.states)-1)]
}

// run brings capture up after the crash.
func (c *crash) run(t *testing.T) {
	of := *c.recording
	of.T, c.recording = t, &of
	im := c.image()
	pages := c.withoutWeir(im)
	done, next := c.between()
	if !bytes.Equal(pages, done.pages) && !bytes.Equal(pages, next.pages) {
		t.Fatal("the database has neither the state that was committed last nor the next one")
	}
	c.restart(im)
	c.open()
	c.check(pages)
	c.anew = !c.leadsHere(pages)
	c.stop()
	if c.n%4 == 0 {
		c.catchUp()
	}
}

func (c *crash) image() (im *crashfs.Image) {
	c.Helper()
	var err error
	if dir := filepath.Join(c.TempDir(), "image"); c.loss == nil {
		im, err = c.disk.After(c.n, dir)
	} else {
		im, err = c.disk.PowerLoss(c.n, *c.loss, dir)
	}
	if err != nil {
		c.Fatal(err)
	}
	return im
}

// withoutWeir is the database as SQLite by itself has it after the crash.
func (c *crash) withoutWeir(im *crashfs.Image) []byte {
	c.Helper()
	return c.pages(c.copyOf(im))
}

// copyOf copies an image, so that inodes and times are others, and returns where the database is. Where nothing is
// lost, nothing needs to be synced either: that is faster on a file system that only records it.
func (c *crash) copyOf(im *crashfs.Image) (dir string) {
	c.Helper()
	dir = c.mount(nil)
	if err := im.CopyTo(dir); err != nil {
		c.Fatal(err)
	}
	return filepath.Join(dir, node)
}

// mount mounts a file system that begins with an image, for as long as the test runs.
func (c *crash) mount(im *crashfs.Image) (dir string) {
	c.Helper()
	dir = c.TempDir()
	fs, err := crashfs.Mount(dir, c.TempDir(), im, nil)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if err := fs.Close(); err != nil {
			c.Error(err)
		}
	})
	return dir
}

// restart puts the image where capture comes up with it. After a kill its files are those that they were, by inodes and
// times, too; after a power failure nothing says so.
func (c *crash) restart(im *crashfs.Image) {
	c.Helper()
	if c.loss != nil {
		c.dir = c.copyOf(im)
	} else {
		c.dir = filepath.Join(c.mount(im), node)
	}
}

// open has SQLite roll back, as a mount does, and opens the database for capture.
func (c *crash) open() {
	c.Helper()
	c.ask(c.sqlite, "rollback", filepath.Join(c.dir, "db"))
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		c.Fatal(err)
	}
	d, err := capture.Open(root, "db", capture.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.Fatal(errors.Join(err, root.Close()))
	}
	c.d, c.stop = d, sync.OnceFunc(func() {
		if err := errors.Join(d.Close(), root.Close()); err != nil {
			c.Error(err)
		}
	})
	c.Cleanup(c.stop)
}

// check compares the end of the log, and what a replica gets for a snapshot, with the pages of the database.
func (c *crash) check(pages []byte) {
	c.Helper()
	c.last = c.d.Log().Published()
	if len(pages) == 0 && c.last == (stream.Pos{}) {
		return
	}
	if got, want := c.last.PostApplyChecksum, sumOf(pages); got != want {
		c.Fatalf("the log ends with checksum %s, the database has %s", got, want)
	}
	if c.last != c.d.Log().Last() {
		c.Fatalf("%s is published of a log up to %s", c.last, c.d.Log().Last())
	}
	var got []byte
	_, err := c.d.Snapshot(c.Context(), nil, func(h stream.SnapshotHeader) error {
		got = make([]byte, int(h.Size)*int(h.PageSize))
		return nil
	}, func(pgno uint32, data []byte) error {
		copy(got[int(pgno-1)*len(data):], data)
		return nil
	})
	if err != nil || !bytes.Equal(got, pages) {
		c.Fatalf("a snapshot has other pages than the database (%v)", err)
	}
}

func pageSizeOf(pages []byte) int { return int(binary.BigEndian.Uint16(pages[16:])) }

func sumOf(pages []byte) stream.Checksum {
	if len(pages) == 0 {
		return stream.NewSums(0).Total()
	}
	size := pageSizeOf(pages)
	sums := stream.NewSums(uint32(size))
	for at := 0; at < len(pages); at += size {
		pgno := uint32(at/size) + 1
		sums.Set(pgno, stream.PageSum(pgno, pages[at:at+size]))
	}
	return sums.Total()
}

// leadsHere tells whether the log leads from the last state that was captured and acknowledged to the database; from all
// states that it has it must.
func (c *crash) leadsHere(pages []byte) (leads bool) {
	c.Helper()
	leads = true
	for _, s := range c.states {
		if s.ops > c.n || !s.seen || len(s.pages) == 0 {
			continue
		}
		from, _, ok := c.d.Log().Find(sumOf(s.pages))
		if leads = ok; !ok {
			done, next := c.between()
			if c.loss == nil && !done.late && !next.late {
				c.Fatalf("the log from %s to %s does not have the state after %q", c.d.Log().First(), c.last, s.sql)
			}
			continue
		}
		if got := c.replay(from, s.pages); !bytes.Equal(got, pages) {
			c.Fatalf("the log leads from the state after %q, %s, to another one than the database's, %s", s.sql, from, c.last)
		}
	}
	return leads
}

// replay applies what the log has after a position to the pages of that.
func (c *crash) replay(from stream.Pos, pages []byte) []byte {
	c.Helper()
	reader, err := c.d.Log().Reader(from)
	if err != nil {
		c.Fatalf("read the log from %s: %v", from, err)
	}
	defer reader.Close()
	pages = bytes.Clone(pages)
	for reader.Pos() != c.last {
		rec, err := reader.Next(c.Context())
		if err == nil {
			pages, err = apply(rec.Data, pages)
		}
		if err != nil {
			c.Fatalf("replay the log after %s: %v", reader.Pos(), err)
		}
	}
	return pages
}

// What frames a transaction in a record (stream/record.go), in bytes.
const recordHeader, recordFooter = 16, 4

// apply applies the transaction of a record.
func apply(rec *io.SectionReader, pages []byte) ([]byte, error) {
	n := rec.Size() - recordHeader - recordFooter
	txn, err := stream.NewTxnReader(io.NewSectionReader(rec, recordHeader, n), n)
	if err != nil {
		return nil, err
	}
	h := txn.Header()
	size := int(h.Commit) * int(h.PageSize)
	pages = append(pages, make([]byte, max(0, size-len(pages)))...)
	for {
		pgno, data, err := txn.Next()
		if errors.Is(err, io.EOF) {
			return pages[:size], nil
		}
		if err != nil {
			return nil, err
		}
		copy(pages[int(pgno-1)*len(data):], data)
	}
}

// catchUp commits once without weir, and has capture find that.
func (c *crash) catchUp() {
	c.Helper()
	before, was := c.pages(c.dir), c.last
	app := c.start()
	defer app.Kill()
	c.ask(app, "open", "file:"+filepath.Join(c.dir, "db"))
	if len(before) == 0 {
		c.ask(app, "sql", "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
	} else {
		c.ask(app, "sql", "PRAGMA user_version = 7")
	}
	if err := app.End(); err != nil {
		c.Fatal(err)
	}
	c.open()
	defer c.stop()
	pages := c.pages(c.dir)
	c.check(pages)
	if c.last.TXID != was.TXID+1 {
		c.Fatalf("a commit without weir leads from %s to %s, want one transaction", was, c.last)
	}
	if len(before) == 0 {
		return
	}
	if got := c.replay(was, before); !bytes.Equal(got, pages) {
		c.Fatalf("the log leads from %s to another state than the database's, %s", was, c.last)
	}
}
