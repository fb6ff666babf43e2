package capture

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"weir/stream"
)

// fakeLocks are locks that a test holds.
type fakeLocks struct {
	held            atomic.Bool
	err             error
	follows, leaves atomic.Int64
}

func (l *fakeLocks) Writing() (bool, error) { return l.held.Load(), l.err }
func (l *fakeLocks) Follow() error          { l.follows.Add(1); return nil }
func (l *fakeLocks) Leave()                 { l.leaves.Add(1) }

func newLockedRig(t *testing.T) (*rig, *fakeLocks) {
	t.Helper()
	locks := new(fakeLocks)
	return openRig(&rig{TB: t, dir: t.TempDir(), locks: locks}), locks
}

// wait waits for a look to find a transaction.
func (r *rig) wait(txid stream.TXID) {
	r.Helper()
	for deadline := time.Now().Add(5 * time.Second); r.d.log.Published().TXID < txid; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("at %s, want %s", r.d.log.Published().TXID, txid)
		}
	}
}

// unpublished gives looks the time to publish what they must not.
func (r *rig) unpublished() {
	r.Helper()
	time.Sleep(20 * lookDirty)
	r.d.lookNow()
	r.check1WithUncommitted()
}

// synchronous=OFF: nothing but the lock tells the end.
func TestUnlockCommits(t *testing.T) {
	r, locks := newLockedRig(t)
	locks.held.Store(true)
	r.write(5, filled(5))
	r.write(7, filled(7))
	r.unpublished()
	locks.held.Store(false)
	r.wait(2)
	r.check(2)
}

func TestSyncCommits(t *testing.T) {
	r, locks := newLockedRig(t)
	locks.held.Store(true)
	r.write(5, filled(5))
	r.write(7, filled(7))
	r.d.SyncedDatabase(r.app)
	r.check(2)
	locks.held.Store(false)
	r.d.Flushed()
	r.check(2)
}

// A transaction that has spilled stands in the file half-way.
func TestOthersDoNotCommitASpilledTransaction(t *testing.T) {
	r, locks := newLockedRig(t)
	other, err := os.Open(r.path(""))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	locks.held.Store(true)
	r.write(5, filled(5))
	r.d.Flushed()
	r.unpublished()
	locks.held.Store(true)
	r.d.SyncedDatabase(other)
	r.unpublished()
	r.write(7, filled(7))
	locks.held.Store(false)
	r.d.Flushed()
	r.check(2)
}

// A killed process has its locks until after it is told of.
func TestUnlockAfterFlush(t *testing.T) {
	r, locks := newLockedRig(t)
	locks.held.Store(true)
	r.write(5, filled(5))
	r.d.Flushed()
	r.d.Released(r.app)
	r.unpublished()
	locks.held.Store(false)
	r.wait(2)
	r.check(2)
}

// cp takes no lock.
func TestCopyIsWholeWhenItIsClosed(t *testing.T) {
	r, locks := newLockedRig(t)
	other, err := os.Open(r.path(""))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	r.write(5, filled(5))
	r.d.Flushed()
	r.d.Released(other)
	r.unpublished()
	r.d.SyncedDatabase(other)
	r.unpublished()
	r.write(7, filled(7))
	locks.held.Store(true) // by who opens it meanwhile
	r.d.Released(r.app)
	r.unpublished()
	locks.held.Store(false)
	r.wait(2)
	r.check(2)
}

func TestTruncatedFileWaitsForAClose(t *testing.T) {
	r, _ := newLockedRig(t)
	if err := r.d.Truncate(0, func() error { return r.app.Truncate(0) }); err != nil {
		t.Fatal(err)
	}
	r.unpublished()
	r.d.Released(r.app)
	r.check(2)
	if got := r.d.sums.Len(); got != 0 {
		t.Errorf("%d pages, want 0", got)
	}
}

// Where nobody can tell, writes count as cp's.
func TestUnknownLock(t *testing.T) {
	r, locks := newLockedRig(t)
	locks.err = errors.New("no")
	r.write(5, filled(5))
	if got := r.d.Status().LastError; got != "no" {
		t.Errorf("the status says %q, want the reason why locks are not known", got)
	}
	r.unpublished()
	r.d.Released(r.app)
	r.check(2)
}

func TestLocksFollowTheDatabase(t *testing.T) {
	r, locks := newLockedRig(t)
	r.write(5, filled(5))
	if locks.follows.Load() == 0 {
		t.Error("a write was not preceded by Follow")
	}
	if err := r.d.Replaced(func() error { return os.Remove(r.path("")) }); err != nil {
		t.Fatal(err)
	}
	if got := locks.leaves.Load(); got != 1 {
		t.Errorf("%d times left after the removal, want 1", got)
	}
}

// journal_mode=PERSIST with synchronous=OFF zeroes the header unseen.
func TestZeroedHeaderIsFoundSoon(t *testing.T) {
	r, locks := newLockedRig(t)
	locks.held.Store(true)
	for nonce := byte(1); nonce <= 20; nonce++ {
		r.journal(nonce)
		r.write(5, filled(nonce))
	}
	if err := os.WriteFile(r.path("-journal"), make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	r.wait(21)
	r.check(21)
}

// Nor has anything seen it where weir ends at once: the log ends with the transaction all the same.
func TestZeroedHeaderIsFoundAtTheEnd(t *testing.T) {
	r := newRig(t)
	r.d.look.stop()
	r.journal(1)
	r.write(5, filled(1))
	if err := os.WriteFile(r.path("-journal"), make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	r.d.look = startLooker(r.d) // Close stops it; it has no reason to look
	r.close()
	r.open()
	r.check(2)
	if first := r.d.log.First(); first.TXID != 1 {
		t.Errorf("the log begins anew at %s", first)
	}
}
