package apply

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/superfly/ltx"
	"golang.org/x/sys/unix"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// source is a primary: a database that SQLite writes, whose states become transactions.
type source struct {
	testing.TB
	*sql.DB
	path     string
	pageSize int
	wal      bool
	n        int    // transactions
	state    []byte // the database file after the last
	pos      stream.Pos
	payloads [][]byte // of transaction 1 and on
}

func newSource(tb testing.TB, pageSize int, mode string) *source {
	tb.Helper()
	s := &source{TB: tb, path: filepath.Join(tb.TempDir(), "db"), pageSize: pageSize, wal: mode == "wal"}
	s.open()
	s.exec("PRAGMA page_size=%d", pageSize)
	s.exec("PRAGMA auto_vacuum=2")
	s.exec("PRAGMA journal_mode=%s", mode)
	s.exec("BEGIN")
	s.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)")
	s.exec("CREATE TABLE state(n, count, bytes)")
	s.exec("INSERT INTO state VALUES(0, 0, 0)")
	s.commit()
	return s
}

func (s *source) open() {
	db, err := sql.Open("sqlite3", s.path)
	if err != nil {
		s.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	s.Cleanup(func() { db.Close() })
	s.DB = db
	s.exec("PRAGMA synchronous=OFF")
}

func (s *source) exec(format string, args ...any) {
	s.Helper()
	if _, err := s.Exec(fmt.Sprintf(format, args...)); err != nil {
		s.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// commit ends the transaction in progress and returns its payload.
func (s *source) commit() []byte {
	s.Helper()
	s.n++
	s.exec("UPDATE state SET n=%d, count=(SELECT count(*) FROM t), bytes=(SELECT ifnull(sum(length(v)),0) FROM t)", s.n)
	s.exec("COMMIT")
	if s.wal {
		s.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	}
	state, err := os.ReadFile(s.path)
	if err != nil {
		s.Fatal(err)
	}
	payload, pos := encodeTxn(s, s.pageSize, s.pos, s.state, state)
	s.state, s.pos = state, pos
	s.payloads = append(s.payloads, payload)
	return payload
}

// grow inserts rows; churn changes some; shrink deletes most and gives their pages back.
func (s *source) grow(rows int) []byte {
	s.Helper()
	s.exec("BEGIN")
	s.exec("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO t(v) SELECT randomblob(abs(random())%%500) FROM c", rows)
	return s.commit()
}

func (s *source) churn() []byte {
	s.Helper()
	s.exec("BEGIN")
	s.exec("UPDATE t SET v=randomblob(abs(random())%%500) WHERE id%%7=%d", s.n%7)
	return s.commit()
}

func (s *source) shrink() []byte {
	s.Helper()
	s.exec("BEGIN")
	s.exec("DELETE FROM t WHERE id%%5")
	s.exec("PRAGMA incremental_vacuum")
	return s.commit()
}

// step is one transaction of some kind.
func (s *source) step() []byte {
	s.Helper()
	switch s.n % 8 {
	case 1, 4:
		return s.grow(60)
	case 7:
		return s.shrink()
	}
	return s.churn()
}

// encodeTxn encodes the transaction that leads from one state to another.
func encodeTxn(tb testing.TB, pageSize int, pre stream.Pos, before, after []byte) ([]byte, stream.Pos) {
	tb.Helper()
	var b bytes.Buffer
	enc, err := ltx.NewEncoder(&b)
	if err != nil {
		tb.Fatal(err)
	}
	h := ltx.Header{Version: ltx.Version, PageSize: uint32(pageSize), Commit: uint32(len(after) / pageSize), MinTXID: pre.TXID + 1, MaxTXID: pre.TXID + 1,
		Timestamp: time.Now().UnixMilli(), PreApplyChecksum: pre.PostApplyChecksum}
	if err := enc.EncodeHeader(h); err != nil {
		tb.Fatal(err)
	}
	sums := stream.NewSums(uint32(pageSize))
	for off := 0; off < len(after); off += pageSize {
		page, pgno := after[off:][:pageSize], uint32(off/pageSize+1)
		sums.Set(pgno, stream.PageSum(pgno, page))
		if off < len(before) && bytes.Equal(before[off:][:pageSize], page) {
			continue
		}
		if err := enc.EncodePage(ltx.PageHeader{Pgno: pgno}, page); err != nil {
			tb.Fatal(err)
		}
	}
	enc.SetPostApplyChecksum(sums.Total())
	if err := enc.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes(), stream.Pos{TXID: pre.TXID + 1, PostApplyChecksum: sums.Total()}
}

// fileLocks are locks on the wal-index in a plain directory.
type fileLocks struct{ f *os.File }

func (l fileLocks) set(kind int16, at int64) (bool, error) {
	err := unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: 1})
	if err == unix.EAGAIN {
		return false, nil
	}
	return err == nil, err
}

func (l fileLocks) TryLock(at int64) (bool, error) { return l.set(unix.F_WRLCK, at) }

func (l fileLocks) Unlock(at int64) error {
	_, err := l.set(unix.F_UNLCK, at)
	return err
}

// dirMount is a plain directory as a mount: readers have the files themselves.
type dirMount struct {
	Locks
	dir string
}

func (dirMount) Changed(string) {}
func (m dirMount) Resize(name string, size int64) error {
	return os.Truncate(filepath.Join(m.dir, name), size)
}
func (dirMount) Wrote(string, int64, int64) error  { return nil }
func (dirMount) Store(string, int64, []byte) error { return nil }

// newMount makes the mount of a replica in dir, given its locks.
func newMount(dir string) (func(Locks) Mount, error) {
	if !*copies {
		return func(l Locks) Mount { return dirMount{l, dir} }, nil
	}
	m, err := newCopies(dir)
	return func(l Locks) Mount { m.Locks = l; return m }, err
}

// attach does for db what the mount does: it holds DMS and WRITE.
func attach(db *Database, dir string) (*os.File, error) {
	m, err := newMount(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(readersDir(dir), "db-shm"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	l := fileLocks{f}
	if ok, err := l.set(unix.F_RDLCK, dbfile.DMSLock); !ok {
		return nil, fmt.Errorf("lock DMS: %w", err)
	}
	if ok, err := l.TryLock(dbfile.WriteLock); !ok {
		return nil, fmt.Errorf("lock WRITE: %w", err)
	}
	db.Attach(m(l))
	return f, nil
}

// replica is a Database under test, in a directory of its own.
type replica struct {
	testing.TB
	*Database
	dir   string
	close func()
}

const testCheckpointFrames = 50

func openReplica(tb testing.TB, dir string) *replica {
	tb.Helper()
	return openReplicaWith(tb, dir, Options{CheckpointFrames: testCheckpointFrames})
}

func openReplicaWith(tb testing.TB, dir string, opt Options) *replica {
	tb.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	db, err := Open(root, "db", opt)
	if err != nil {
		tb.Fatal(err)
	}
	locks, err := attach(db, dir)
	if err != nil {
		tb.Fatal(err)
	}
	r := &replica{TB: tb, Database: db, dir: dir}
	closed := false
	r.close = func() {
		if closed {
			return
		}
		closed = true
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
		locks.Close()
		root.Close()
	}
	tb.Cleanup(r.close)
	return r
}

func newReplica(tb testing.TB) *replica { return openReplica(tb, tb.TempDir()) }

// reopen closes the replica and opens it again.
func (r *replica) reopen() *replica {
	r.Helper()
	r.close()
	return openReplica(r.TB, r.dir)
}

func (r *replica) apply(payloads ...[]byte) {
	r.Helper()
	for _, p := range payloads {
		if err := r.Apply(r.ctx(), bytes.NewReader(p), int64(len(p)), noMore); err != nil {
			r.Fatal(err)
		}
		r.checkIndex()
	}
}

// noMore says that there is no other transaction.
func noMore() (int64, bool, error) { return 0, false, nil }

// checkIndex checks the invariants of the wal-index as it is, while a checkpoint may be going on.
func (r *replica) checkIndex() {
	r.Helper()
	if err := r.take(r.ctx()); err != nil {
		r.Fatal(err)
	}
	defer r.give()
	h, err := dbfile.ParseIndexHeader(r.index.region(0))
	if err != nil || h != r.hdr || h.MxFrame == 0 {
		r.Fatalf("got wal-index header %+v (%v), want %+v", h, err, r.hdr)
	}
	if n := r.index.backfill(); n > h.MxFrame {
		r.Fatalf("got nBackfill %d, want at most %d", n, h.MxFrame)
	}
	least := r.index.mark(firstMark)
	for i := firstMark; i <= lastMark; i++ {
		least = min(least, r.index.mark(i))
	}
	if floor := r.index.mark(floorMark); floor != 0 || least > h.MxFrame {
		r.Fatalf("got read-marks of at least %d and a floor of %d, want at most %d and 0", least, floor, h.MxFrame)
	}
}

func (r *replica) ctx() context.Context { return context.Background() }

// wantState compares the replica's position, table and pages with the source's.
func (r *replica) wantState(s *source) {
	r.Helper()
	if _, pos := r.Pos(); pos != s.pos {
		r.Fatalf("got position %s, want %s", pos, s.pos)
	}
	if got := r.log.Published(); got != s.pos {
		r.Errorf("log: got position %s, want %s", got, s.pos)
	}
	got := make([]byte, len(s.state))
	_, err := r.Snapshot(r.ctx(), nil, func(h stream.SnapshotHeader) error {
		if int(h.Size)*int(h.PageSize) != len(s.state) {
			return fmt.Errorf("got %d pages of %d bytes, want %d bytes", h.Size, h.PageSize, len(s.state))
		}
		return nil
	}, func(pgno uint32, data []byte) error {
		copy(got[int(pgno-1)*s.pageSize:], data)
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	if !bytes.Equal(got, s.state) {
		r.Errorf("pages at %s are not the source's", s.pos)
	}
}

// snapshotOf feeds a replica from a state of a source: the pages that differ from have, then the
// given transactions.
func (r *replica) snapshotOf(s *source, id string, state []byte, pos stream.Pos, have *stream.Sums, then ...[]byte) error {
	r.Helper()
	if err := r.Adopt(r.ctx(), stream.Lineage{ID: id}, nil); err != nil {
		return err
	}
	w, err := r.BeginSnapshot(r.ctx(), stream.SnapshotHeader{Pos: pos, PageSize: uint32(s.pageSize), Size: uint32(len(state) / s.pageSize)})
	if err != nil {
		return err
	}
	for off := 0; off < len(state); off += s.pageSize {
		pgno, page := uint32(off/s.pageSize+1), state[off:][:s.pageSize]
		if have != nil && have.Page(pgno) == stream.PageSum(pgno, page) {
			continue
		}
		if err := w.WritePage(pgno, page); err != nil {
			return err
		}
	}
	for _, p := range then {
		if err := w.Apply(bytes.NewReader(p), int64(len(p))); err != nil {
			return err
		}
	}
	return w.Commit(r.ctx(), s.pos)
}

// forge encodes a transaction with all pages of a state and a checksum of choice.
func forge(tb testing.TB, pageSize int, pre stream.Pos, after []byte, post stream.Checksum) []byte {
	tb.Helper()
	var b bytes.Buffer
	enc, err := ltx.NewEncoder(&b)
	if err != nil {
		tb.Fatal(err)
	}
	h := ltx.Header{Version: ltx.Version, PageSize: uint32(pageSize), Commit: uint32(len(after) / pageSize), MinTXID: pre.TXID + 1, MaxTXID: pre.TXID + 1, PreApplyChecksum: pre.PostApplyChecksum}
	err = enc.EncodeHeader(h)
	for off := 0; off < len(after) && err == nil; off += pageSize {
		err = enc.EncodePage(ltx.PageHeader{Pgno: uint32(off/pageSize + 1)}, after[off:][:pageSize])
	}
	enc.SetPostApplyChecksum(post)
	if err == nil {
		err = enc.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}
