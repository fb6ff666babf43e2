package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// rig is a directory with a database that capture has open, and the app's side
// of it: what a mount would pass on.
type rig struct {
	testing.TB
	dir  string
	root *os.Root
	d    *Database
	app  *os.File // the database, as an app writes it

	intercepted bool // see Options
	writeOnly   bool // app is no handle of SQLite's
	locks       Locks
	syncEvery   time.Duration
}

// newRig makes a database of some pages with SQLite and opens it.
func newRig(tb testing.TB) *rig {
	tb.Helper()
	return openRig(&rig{TB: tb, dir: tb.TempDir()})
}

func openRig(r *rig) *rig {
	r.Helper()
	r.shell("CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50) INSERT INTO t SELECT randomblob(2000) FROM n;")
	r.open()
	r.Cleanup(func() { r.close() })
	return r
}

func (r *rig) open() {
	r.Helper()
	var err error
	if r.root, err = os.OpenRoot(r.dir); err != nil {
		r.Fatal(err)
	}
	if r.d, err = Open(r.root, "db", Options{Logger: slog.New(slog.NewTextHandler(r.Output(), nil)), Intercepted: r.intercepted, Locks: r.locks, SyncEvery: r.syncEvery}); err != nil {
		r.Fatal(err)
	}
	if r.app, err = os.OpenFile(r.path(""), os.O_RDWR, 0); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) close() {
	if r.d != nil {
		if err := errors.Join(r.d.Close(), r.app.Close(), r.root.Close()); err != nil {
			r.Error(err)
		}
		r.d = nil
	}
}

func (r *rig) path(suffix string) string { return filepath.Join(r.dir, "db"+suffix) }

// shell runs SQL on the files themselves.
func (r *rig) shell(sql string) {
	r.Helper()
	if out, err := exec.Command("sqlite3", "-bail", r.path(""), sql).CombinedOutput(); err != nil {
		r.Fatalf("%s: %v: %s", sql, err, out)
	}
}

// killed runs statements, each a commit, in a process that then dies.
func (r *rig) killed(statements ...string) {
	r.Helper()
	script := "import os, sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\nfor s in sys.argv[2:]: c.execute(s).fetchall()\nos.kill(os.getpid(), 9)"
	out, err := exec.Command("python3", append([]string{"-c", script, r.path("")}, statements...)...).CombinedOutput()
	if len(out) > 0 || err == nil {
		r.Fatalf("%q: %v: %s", statements, err, out)
	}
}

// page is the image of a page in the database file.
func (r *rig) page(pgno uint32) []byte {
	r.Helper()
	buf := make([]byte, 4096)
	if _, err := r.app.ReadAt(buf, int64(pgno-1)*4096); err != nil {
		r.Fatal(err)
	}
	return buf
}

// write changes a page as an app does.
func (r *rig) write(pgno uint32, page []byte) {
	r.Helper()
	if _, err := r.d.Write(r.app, page, int64(pgno-1)*4096); err != nil {
		r.Fatal(err)
	}
}

// journal begins a rollback journal with the given nonce.
func (r *rig) journal(nonce byte) {
	r.Helper()
	head := append([]byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7\xff\xff\xff\xff"), 0, 0, 0, nonce, 0, 0, 0, 50, 0, 0, 2, 0, 0, 0, 16, 0)
	if err := os.WriteFile(r.path("-journal"), head, 0o600); err != nil {
		r.Fatal(err)
	}
	if err := r.d.Opened(dbfile.RoleJournal); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) endJournal() error {
	return r.d.Remove(dbfile.RoleJournal, func() error { return os.Remove(r.path("-journal")) })
}

// frames makes a transaction at the start of a WAL, of pages that are filled
// with their numbers, and the wal-index header that counts it.
func (r *rig) frames(pgnos ...uint32) ([]byte, dbfile.IndexHeader) {
	r.Helper()
	hdr := r.walHeader()
	var b []byte
	sum := hdr.Cksum
	for i, pgno := range pgnos {
		f := dbfile.Frame{Pgno: pgno}
		if i == len(pgnos)-1 {
			f.Size = r.d.sums.Len()
		}
		frame := append(make([]byte, dbfile.FrameHeaderSize), filled(byte(pgno))...)
		sum = dbfile.EncodeFrameHeader(frame, &hdr, f, sum, frame[dbfile.FrameHeaderSize:])
		b = append(b, frame...)
	}
	return b, dbfile.IndexHeader{PageSize: 4096, MxFrame: uint32(len(pgnos)), Size: r.d.sums.Len(), FrameCksum: sum, Salt: hdr.Salt}
}

func (r *rig) walHeader() dbfile.WALHeader {
	r.Helper()
	hdr := dbfile.WALHeader{PageSize: 4096, Salt: [2]uint32{1, 2}}
	b := make([]byte, dbfile.WALHeaderSize)
	hdr.Encode(b)
	hdr, err := dbfile.ParseWALHeader(b)
	if err != nil {
		r.Fatal(err)
	}
	return hdr
}

// writeWAL writes a WAL of the given frames.
func (r *rig) writeWAL(frames []byte) {
	r.Helper()
	hdr := r.walHeader()
	b := make([]byte, dbfile.WALHeaderSize)
	hdr.Encode(b)
	r.writeOpen(dbfile.RoleWAL, append(b, frames...))
}

// writeIndex writes a wal-index.
func (r *rig) writeIndex(h dbfile.IndexHeader) {
	r.Helper()
	b := make([]byte, dbfile.RegionSize)
	h.Encode(b)
	h.Encode(b[dbfile.IndexHeaderSize:])
	r.writeOpen(dbfile.RoleSHM, b)
}

func (r *rig) writeOpen(role dbfile.Role, b []byte) {
	r.Helper()
	if err := errors.Join(os.WriteFile(r.path(role.Suffix()), b, 0o600), r.d.Opened(role)); err != nil {
		r.Fatal(err)
	}
}

// A writer may be slow between its last frame, which signals, and the
// wal-index, which does not; in a new WAL, too.
func TestLateWALIndex(t *testing.T) {
	r := newRig(t)
	frames, h := r.frames(5, 6, 7)
	none := h
	none.MxFrame = 0
	r.writeIndex(none)
	r.writeWAL(frames)
	r.d.Look()
	time.Sleep(lookFor + 100*time.Millisecond)
	if got := r.d.log.Published().TXID; got != 1 {
		t.Errorf("published up to %s before the wal-index counts the frames, want 1", got)
	}
	r.writeIndex(h)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := r.d.log.Wait(ctx, 2); err != nil {
		t.Error(err)
	}
	r.check(2)
}

// check compares the last position with the pages in the files.
func (r *rig) check(txid stream.TXID) {
	r.Helper()
	if got := r.d.log.Published().TXID; got != txid {
		r.Errorf("at transaction %s, want %s", got, txid)
	}
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	defer func() { r.d.recovered = nil }()
	sums, err := r.d.readSums(r.d.sums.Len(), r.d.sums.PageSize())
	if err != nil {
		r.Fatal(err)
	}
	if got, want := r.d.log.Published().PostApplyChecksum, sums.Total(); got != want {
		r.Errorf("checksum of the log's end is %s, of the files %s", got, want)
	}
}

func filled(b byte) []byte { return bytes.Repeat([]byte{b}, 4096) }

func TestJournalEndCommits(t *testing.T) {
	r := newRig(t)
	r.journal(1)
	r.write(5, filled(5))
	r.write(7, filled(7))
	r.check1WithUncommitted()
	if err := r.endJournal(); err != nil {
		t.Fatal(err)
	}
	r.check(2)
}

// What a journal commits below a WAL is seen only where the WAL does not have the page.
func TestJournalEndsBelowWAL(t *testing.T) {
	r := newRig(t)
	frames, h := r.frames(5, 6)
	r.writeIndex(h)
	r.writeWAL(frames)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := r.d.log.Wait(ctx, 2); err != nil {
		t.Fatal(err)
	}
	for nonce, tt := range []struct {
		pgno uint32
		txid stream.TXID // after the journal's end
	}{{5, 2}, {7, 3}} {
		r.journal(byte(nonce + 1))
		r.write(tt.pgno, filled(99))
		if err := r.endJournal(); err != nil {
			t.Fatal(err)
		}
		r.check(tt.txid)
	}
}

// A WAL that is cut to nothing, and stays as a file, lies over nothing any more: the journal commits sizes, too.
func TestJournalEndsBesideEmptyWAL(t *testing.T) {
	r := newRig(t)
	frames, h := r.frames(5, 6)
	r.writeIndex(h)
	r.writeWAL(frames)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := r.d.log.Wait(ctx, 2); err != nil {
		t.Fatal(err)
	}
	for _, pgno := range []uint32{5, 6} { // the checkpoint
		r.write(pgno, filled(byte(pgno)))
	}
	if err := r.d.Resize(dbfile.RoleWAL, 0, func() error { return os.Truncate(r.path("-wal"), 0) }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(r.path("-shm")), r.d.reopenLocked(dbfile.RoleSHM)); err != nil {
		t.Fatal(err)
	}
	r.d.Closed(dbfile.RoleSHM)
	size := r.d.sums.Len()
	page1 := r.page(1)
	binary.BigEndian.PutUint32(page1[28:], size+1) // pages, which count where the change counters agree
	r.journal(1)
	r.write(1, page1)
	r.write(size+1, filled(1))
	if err := r.endJournal(); err != nil {
		t.Fatal(err)
	}
	r.check(3)
	if got := r.d.sums.Len(); got != size+1 {
		t.Errorf("got %d pages, want %d", got, size+1)
	}
}

// reopenLocked is reopen for a test.
func (d *Database) reopenLocked(role dbfile.Role) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reopen(role)
}

// check1WithUncommitted checks that nothing is published yet.
func (r *rig) check1WithUncommitted() {
	r.Helper()
	if got := r.d.log.Published().TXID; got != 1 {
		r.Errorf("published up to %s before the journal's end, want 1", got)
	}
}

func TestRollbackIsNoTransaction(t *testing.T) {
	r := newRig(t)
	before := r.page(5)
	r.journal(1)
	r.write(5, filled(5))
	r.write(5, before)
	if err := r.endJournal(); err != nil {
		t.Fatal(err)
	}
	r.check(1)
}

func TestFailedJournalEndIsNoCommit(t *testing.T) {
	r := newRig(t)
	before := r.page(5)
	r.journal(1)
	r.write(5, filled(5))
	cause := errors.New("no")
	if err := r.d.Remove(dbfile.RoleJournal, func() error { return cause }); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
	r.check1WithUncommitted()
	r.write(5, before)
	if err := r.endJournal(); err != nil {
		t.Fatal(err)
	}
	r.check(1)
}

// A journal whose header is zeroed and written anew between two writes to the
// database shows only by its nonce (rule 2).
func TestNextJournalCommits(t *testing.T) {
	r := newRig(t)
	for nonce := byte(1); nonce <= 3; nonce++ {
		r.journal(nonce)
		r.write(5, filled(nonce))
		r.write(uint32(5+nonce), filled(nonce))
	}
	if got := r.d.log.Published().TXID; got != 3 {
		t.Errorf("published up to %s before the third journal's end, want 3", got)
	}
	if err := r.endJournal(); err != nil {
		t.Fatal(err)
	}
	r.check(4)
}

// A crash after the record is appended and before the journal has ended.
func TestRecordThatNeverWas(t *testing.T) {
	r := newRig(t)
	before := r.page(5)
	crashed := &rig{TB: t, dir: t.TempDir()}
	r.journal(1)
	r.write(5, filled(5))
	err := r.d.Remove(dbfile.RoleJournal, func() error {
		return os.CopyFS(crashed.dir, os.DirFS(r.dir))
	})
	if err != nil {
		t.Fatal(err)
	}
	// SQLite rolls back before weir looks.
	if err := os.Remove(crashed.path("-journal")); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(crashed.path(""), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(before, 4*4096); err != nil {
		t.Fatal(err)
	}
	f.Close()
	crashed.open()
	defer crashed.close()
	crashed.check(1)
}

func TestCommitsOfKilledAppAreFoundOneByOne(t *testing.T) {
	r := newRig(t)
	r.close()
	insert := "INSERT INTO t VALUES(randomblob(10000))"
	r.killed("PRAGMA journal_mode=WAL", insert, insert, insert)
	r.open()
	first := r.d.log.Published().TXID
	if first < 2 {
		t.Fatalf("at %s, want the changes of the killed app", first)
	}
	r.check(first)
	r.close()
	r.killed(insert, insert)
	r.open()
	r.check(first + 2)
	r.close()
	r.open()
	r.check(first + 2)
}

// A writer without a wal-index fails after it has written its commit frame;
// the next one overwrites that.
func TestOverwrittenCommitIsCorrected(t *testing.T) {
	r := newRig(t)
	failed, _ := r.frames(5, 6, 7)
	r.writeWAL(failed)
	r.d.lookNow()
	r.check(2)
	next, _ := r.frames(8)
	r.writeWAL(append(next, failed[len(next):]...))
	r.d.lookNow()
	r.check(3)
	if got := r.d.sums.Page(5); got != stream.PageSum(5, r.page(5)) {
		t.Error("page 5 is as the failed commit left it")
	}
}

// SQLite cuts the file after the journal's end.
func TestShrinkCommitsAtTheJournalsEnd(t *testing.T) {
	r := newRig(t)
	size := r.d.sums.Len()
	r.journal(1)
	page1 := r.page(1)
	binary.BigEndian.PutUint32(page1[28:], size-3)
	r.write(1, page1)
	if err := r.endJournal(); err != nil {
		t.Fatal(err)
	}
	if got, want := r.d.sums.Len(), size-3; got != want {
		t.Errorf("%d pages at the journal's end, want %d", got, want)
	}
	to := int64(size-3) * 4096
	if err := r.d.Truncate(to, func() error { return r.app.Truncate(to) }); err != nil {
		t.Fatal(err)
	}
	if !r.d.dirty.empty() {
		t.Error("the cut leaves the database dirty")
	}
	r.check(2)
}

func TestCatchUp(t *testing.T) {
	r := newRig(t)
	for want := stream.TXID(2); want < 5; want++ {
		r.close()
		r.shell("UPDATE t SET a=randomblob(2000) WHERE rowid%7=0")
		r.open()
		r.check(want)
		if first := r.d.log.First(); first.TXID != 1 {
			t.Errorf("the log starts at %s, want 1: no delta is needed", first)
		}
	}
}

func TestNotADatabase(t *testing.T) {
	r := newRig(t)
	r.close()
	if err := os.WriteFile(r.path(""), []byte(strings.Repeat("x", 8192)), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d, err := Open(root, "db", Options{})
	if !errors.Is(err, dbfile.ErrNotDatabase) {
		t.Errorf("open gives %v, want %v", err, dbfile.ErrNotDatabase)
	}
	if err == nil {
		d.Close()
	}
}

func TestPageRange(t *testing.T) {
	for _, tt := range []struct {
		off, n int64
		want   string
	}{{0, 4096, "[1]"}, {4096, 4096, "[2]"}, {100, 10, "[1]"}, {4000, 200, "[1 2]"}, {0, 3 * 4096, "[1 2 3]"}} {
		var s dirtySet
		s.add(tt.off, tt.n, 4096)
		if got := fmt.Sprint(sortedPages(s.pages, 100, 4096)); got != tt.want {
			t.Errorf("%d bytes at %d are pages %s, want %s", tt.n, tt.off, got, tt.want)
		}
	}
}
