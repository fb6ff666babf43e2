package capture

import (
	"context"
	"os"
	"testing"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// passedRig is a rig whose database is in WAL mode, and is written by app unseen.
func passedRig(t *testing.T) *rig {
	t.Helper()
	return passRig(&rig{TB: t, dir: t.TempDir(), locks: &fakeLocks{}})
}

func passRig(r *rig) *rig {
	r.Helper()
	r.shell("PRAGMA journal_mode=WAL; CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50) INSERT INTO t SELECT randomblob(2000) FROM n;")
	r.open()
	r.Cleanup(func() { r.close() })
	r.pass()
	return r
}

func (r *rig) pass() {
	r.Helper()
	r.d.passAtOnce = true
	if !r.d.MayPass() {
		r.Fatal("the database may not be passed through")
	}
	r.d.PassThrough(r.app, r.writeOnly)
}

// writeUnseen changes a page as the kernel does for an app.
func (r *rig) writeUnseen(pgno uint32, page []byte) {
	r.Helper()
	if _, err := r.app.WriteAt(page, int64(pgno-1)*4096); err != nil {
		r.Fatal(err)
	}
}

// writtenUnseen tells of what was written since the start, and checks that it becomes a transaction.
func (r *rig) writtenUnseen() {
	r.Helper()
	r.d.Written()
	r.waitTXID(2)
	r.check(2)
}

// waitTXID waits for a transaction.
func (r *rig) waitTXID(txid stream.TXID) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	if err := r.d.log.Wait(ctx, txid); err != nil {
		r.Fatalf("transaction %s: %v", txid, err)
	}
}

// A database that is seldom written is not worth it, nor one in a rollback mode; and one whose WAL is intercepted is read
// off it.
func TestMayPass(t *testing.T) {
	r := newRig(t)
	r.d.passAtOnce = true
	if r.d.MayPass() {
		t.Error("a database in rollback mode may be passed through")
	}
	r.close()
	r.shell("PRAGMA journal_mode=WAL")
	r.open()
	if r.d.MayPass() {
		t.Error("a database that is not busy may be passed through")
	}
	r.d.passAtOnce = true
	if !r.d.MayPass() {
		t.Error("a database in WAL mode may not be passed through")
	}
	r.journal(1)
	if r.d.MayPass() {
		t.Error("a database with a journal may be passed through")
	}
}

// Whether a database is busy outlasts a stop, and ends when little is written for long.
func TestActivity(t *testing.T) {
	r := newRig(t)
	busy := func(want bool) {
		t.Helper()
		r.close()
		r.open()
		if got := r.d.activity.busy; got != want {
			t.Errorf("busy is %v after another start, want %v", got, want)
		}
	}
	r.d.activity.opened()
	r.d.active(busyFrames - 1)
	busy(false)
	r.d.activity.opened()
	r.d.active(busyFrames)
	busy(true)
	r.d.activity.opened()
	r.d.Unused()
	busy(true)
	r.d.activity.since = time.Now().Add(-idleFor - time.Second)
	r.d.Unused()
	busy(false)
	r.d.activity.since = time.Now().Add(-time.Hour)
	r.d.active(busyFrames)
	busy(false)
}

// A checkpoint writes the database before capture has seen what it writes.
func TestCheckpointUnseen(t *testing.T) {
	r := passedRig(t)
	r.d.look.stop()
	defer func() { r.d.look = startLooker(r.d) }()
	frames, h := r.frames(5, 6, 7)
	r.writeWAL(frames)
	r.writeIndex(h)
	r.writeUnseen(5, filled(5)) // and not yet the others
	var got []byte
	if _, err := r.d.Snapshot(t.Context(), nil, func(stream.SnapshotHeader) error { return nil }, func(pgno uint32, page []byte) error {
		if pgno == 5 {
			got = append(got, page...)
		}
		return nil
	}); err != nil || string(got) != string(filled(5)) {
		t.Errorf("a snapshot amid the checkpoint: %v, page 5 is %.4x...", err, got)
	}
	r.check(2)
}

// The sync of the WAL that a checkpoint begins with is answered when the log has all that it may copy.
func TestWALSyncCaptures(t *testing.T) {
	r := passedRig(t)
	frames, h := r.frames(5, 6, 7)
	r.d.look.stop()
	defer func() { r.d.look = startLooker(r.d) }()
	r.writeWAL(frames)
	r.writeIndex(h)
	r.d.Synced(dbfile.RoleWAL)
	if got := r.d.log.Published().TXID; got != 2 {
		t.Errorf("the log is at %s after the sync, want 2", got)
	}
}

// A connection that has left WAL mode writes unseen under its journal.
func TestJournalUnseen(t *testing.T) {
	r := passedRig(t)
	for i, end := range []func() error{
		r.endJournal,
		func() error {
			return r.d.Resize(dbfile.RoleJournal, 0, func() error { return os.Truncate(r.path("-journal"), 0) })
		},
		func() error { // PERSIST, synced
			err := os.WriteFile(r.path("-journal"), make([]byte, 28), 0o600)
			r.d.Synced(dbfile.RoleJournal)
			return err
		},
	} {
		r.journal(byte(i + 1))
		if i > 0 { // with synchronous=OFF there is only the end to tell
			r.d.Synced(dbfile.RoleJournal)
		}
		r.writeUnseen(5, filled(byte(i)))
		r.writeUnseen(6, filled(byte(i)))
		if i > 0 {
			r.d.Written()
		}
		if got := r.d.log.Last().TXID; got != stream.TXID(i+1) {
			t.Fatalf("at %s before the journal's end, want %d", got, i+1)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		r.check(stream.TXID(i + 2))
	}
}

// Without a journal the end of a lock tells, and that nothing is written meanwhile.
func TestUnseenWithoutJournal(t *testing.T) {
	r := passedRig(t)
	locks := r.locks.(*fakeLocks)
	locks.held.Store(true)
	r.writeUnseen(5, filled(1))
	r.d.Written()
	time.Sleep(300 * time.Millisecond)
	if got := r.d.log.Last().TXID; got != 1 {
		t.Fatalf("captured amid the transaction: at %s", got)
	}
	r.writeUnseen(6, filled(1))
	locks.held.Store(false)
	r.waitTXID(2)
	r.check(2)
}

// SQLite may have given its lock back before it is known that it has written.
func TestUnseenUnlocked(t *testing.T) {
	r := passedRig(t)
	r.writeUnseen(5, filled(1))
	r.writtenUnseen()
}

// A write may come so soon after the WAL's end that it does not move the file's times.
func TestUnseenInTheSameTick(t *testing.T) {
	r := passedRig(t)
	page1 := r.page(1)
	page1[27]++ // the change counter
	r.writeUnseen(1, page1)
	r.d.mu.Lock()
	r.d.explain()
	r.d.mu.Unlock()
	r.writtenUnseen()
}

// A WAL of no frames explains nothing.
func TestUnseenBesideEmptyWAL(t *testing.T) {
	r := passedRig(t)
	_, h := r.frames(5)
	h.MxFrame = 0
	r.writeWAL(nil)
	r.writeIndex(h)
	r.writeUnseen(5, filled(1))
	r.writtenUnseen()
}

// What has just been written may be written on without moving the file's times.
func TestUnquiet(t *testing.T) {
	r := passedRig(t)
	r.d.look.stop()
	defer func() { r.d.look = startLooker(r.d) }()
	r.locks.(*fakeLocks).held.Store(true) // so that it is no copy
	r.writeUnseen(5, filled(1))
	r.d.Written()
	r.locks.(*fakeLocks).held.Store(false)
	r.d.lookNow()
	if got := r.d.log.Last().TXID; got != 1 {
		t.Errorf("captured at once: at %s", got)
	}
	time.Sleep(50 * time.Millisecond)
	r.d.lookNow()
	r.check(2)
}

// A checkpoint's writes are told of late, when the WAL is gone.
func TestLateCheckpointIsExplained(t *testing.T) {
	r := passedRig(t)
	frames, h := r.frames(5, 6, 7)
	r.writeWAL(frames)
	r.writeIndex(h)
	for _, pgno := range []uint32{5, 6, 7} {
		r.writeUnseen(pgno, filled(byte(pgno)))
	}
	r.d.Written()
	if err := r.d.Remove(dbfile.RoleWAL, func() error { return os.Remove(r.path("-wal")) }); err != nil {
		t.Fatal(err)
	}
	r.d.Written()
	r.check(2)
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if !r.d.dirty.empty() {
		t.Error("a checkpoint has all pages be read")
	}
}

// What is written by a handle that is not SQLite's is whole when that is closed.
func TestCopyUnseen(t *testing.T) {
	r := passRig(&rig{TB: t, dir: t.TempDir(), locks: &fakeLocks{}, writeOnly: true})
	r.writeUnseen(5, filled(1))
	r.d.Written()
	time.Sleep(300 * time.Millisecond)
	if got := r.d.log.Last().TXID; got != 1 {
		t.Fatalf("captured amid the copy: at %s", got)
	}
	r.writeUnseen(6, filled(1))
	r.d.Released(r.app)
	r.waitTXID(2)
	r.check(2)
}

// What was written unseen before a WAL is captured with what the WAL has.
func TestUnseenBeforeWAL(t *testing.T) {
	r := passedRig(t)
	r.locks.(*fakeLocks).held.Store(true)
	r.writeUnseen(9, filled(1))
	r.d.Written()
	frames, h := r.frames(5, 6, 7)
	r.writeWAL(frames)
	r.writeIndex(h)
	r.d.Synced(dbfile.RoleWAL)
	r.check(2)
}
