package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"weir/fuse/crashfs"
	"weir/stream"
)

// Of a WAL of small pages, the first part of the wal-index (bytes, as SQLite maps it) takes the frames of transactions, but
// not those of a large one. A replica's grows by larger parts.
const (
	smallPages   = "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; CREATE TABLE big (v BLOB);"
	indexPart    = 32 << 10
	largeTxn     = "INSERT INTO big VALUES (randomblob(2500000));"
	indexChunk   = 256 << 10
	veryLargeTxn = "INSERT INTO big VALUES (randomblob(18000000));"
	readBoth     = "SELECT n, (SELECT count(*) FROM big) FROM counter;"
)

// indexFull is a disk that has no room for the wal-index. SQLite writes a byte of each page that it adds, weir cuts the file
// to its new size and fills it. On a disk with one of noIndex there can't be any.
var (
	indexFull  = fault{kind: crashfs.Write, file: "db-shm", errno: syscall.ENOSPC}
	indexUncut = fault{kind: crashfs.Truncate, file: "db-shm", errno: syscall.ENOSPC}
	noIndex    = []fault{
		{kind: crashfs.Create, file: "db-shm", errno: syscall.ENOSPC},
		{kind: crashfs.Create, file: "db-shm", errno: syscall.EACCES},
		{kind: crashfs.Create, file: "db-shm", errno: syscall.EROFS},
	}
)

// startOnFaultyDisk starts a primary on a disk that can fail, and a replica on another, with a database of small pages.
func startOnFaultyDisk(t *testing.T) (disk *faultyDisk, primary, replica *node) {
	t.Helper()
	disk = newFaultyDisk(t)
	primary = newPrimary(t).onDisk(disk.at)
	primary.start()
	replica = newReplica(t, primary)
	replica.start()
	shell(t, primary.db, smallPages+auditSchema+auditStep)
	awaitSame(t, primary, replica)
	return disk, primary, replica
}

// txid is the transaction that a node is at.
func txid(t *testing.T, n *node) stream.TXID {
	t.Helper()
	st, err := n.status()
	if err != nil {
		t.Fatal(err)
	}
	return st.Pos.TXID
}

// isWellAgain requires that all is well again with the primary, and the replica has it.
func isWellAgain(t *testing.T, disk *faultyDisk, primary, replica *node) {
	t.Helper()
	if disk.heals() == 0 {
		t.Error("nothing has failed: this shows nothing")
	}
	shell(t, primary.db, largeTxn+auditStep)
	awaitSame(t, primary, replica)
	primary.eventually("a status without an error", func() error {
		if _, body := primary.get("GET", "/status"); strings.Contains(body, "lastError") {
			return errors.New(body)
		}
		return nil
	})
	replica.stop()
	primary.stop()
}

// The disk is full when SQLite has to make the wal-index longer for a transaction whose frames are in the WAL by then,
// commit frame and all. SQLite says so, and goes on without it, and so do replicas.
func TestWALIndexFull(t *testing.T) {
	skipRaced(t)
	t.Parallel()
	disk, primary, replica := startOnFaultyDisk(t)
	before, pos := counterOf(t, primary.db), txid(t, primary)
	disk.breaksFrom(indexPart, primary, indexFull)
	app := command("sqlite3", primary.db)
	app.Stdin = strings.NewReader("PRAGMA wal_autocheckpoint = 0;" + auditStep + largeTxn + auditStep + readBoth)
	out, err := app.CombinedOutput()
	if want := fmt.Sprintf("%d|0", before+2); !saysFailed(string(out)) || !strings.HasSuffix(strings.TrimSpace(string(out)), want) {
		t.Errorf("SQLite says %q (%v), want that the disk fails, and then %s", out, err, want)
	}
	awaitSame(t, primary, replica)
	// Without a wal-index to see, the commit that failed counts until the next one.
	if got := txid(t, primary); got != pos+2 && os.Getenv("WEIR_PASSTHROUGH") != "off" {
		t.Errorf("the primary is at transaction %d, want the two that were committed after %d", got, pos)
	}
	isWellAgain(t, disk, primary, replica)
}

// The app dies in that state. The next one recovers the wal-index from the WAL, for which there is no room either, and
// then finds the commit frame: to SQLite the transaction is committed.
func TestWALIndexFullKilled(t *testing.T) {
	skipRaced(t)
	t.Parallel()
	disk, primary, replica := startOnFaultyDisk(t)
	disk.breaksFrom(indexPart, primary, indexFull)
	app := startBackground(t, "python3", "-c", pythonFails, primary.db, largeTxn)
	if said := app.next(); !saysFailed(said) {
		t.Errorf("SQLite says %q, want that the disk fails", said)
	}
	app.kill()
	if out, err := tryShell(primary.db, "SELECT count(*) FROM big"); err == nil || !saysFailed(out) {
		t.Errorf("SQLite says %q (%v) as it recovers, want that the disk fails", out, err)
	}
	isWellAgain(t, disk, primary, replica)
}

// pythonFails prints what SQLite says of a statement, and stays with its connection open.
const pythonFails = `
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
c.execute("PRAGMA wal_autocheckpoint = 0")
try:
    c.execute(sys.argv[2])
    print("ok", flush=True)
except sqlite3.Error as e:
    print(e, flush=True)
sys.stdin.read()
`

// There is no wal-index, because it can't be made, or there is no room for any of it. SQLite says so, and when there is
// all goes on.
func TestNoWALIndex(t *testing.T) {
	skipRaced(t)
	for _, f := range append([]fault{indexFull}, noIndex...) {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			disk, primary, replica := startOnFaultyDisk(t)
			before, pos := counterOf(t, primary.db), txid(t, primary)
			disk.breaks(primary, f)
			for range faultySteps {
				if out, err := tryShell(primary.db, auditStep); err == nil || !saysFailed(out) {
					t.Errorf("SQLite says %q (%v), want that the disk fails", out, err)
				}
			}
			if got := txid(t, primary); got != pos {
				t.Errorf("the primary is at transaction %d, want %d: nothing is committed", got, pos)
			}
			hits := disk.heals()
			if got := counterOf(t, primary.db); got != before || hits == 0 {
				t.Errorf("the counter is %d, want %d; %d operations failed", got, before, hits)
			}
			disk.breaks(primary, f)
			tryShell(primary.db, auditStep)
			isWellAgain(t, disk, primary, replica)
		})
	}
}

// A replica's disk is full when its own wal-index has to grow, or there is none to begin with. Its readers keep what they
// have, the status says what is wrong, or it does not start and says why; when there is room it goes on by position.
func TestReplicaWALIndexFull(t *testing.T) {
	skipRaced(t)
	t.Parallel()
	primary := newPrimary(t)
	primary.start()
	disk := newFaultyDisk(t)
	replica := newReplica(t, primary).onDisk(disk.at)
	replica.start()
	shell(t, primary.db, smallPages+auditSchema+auditStep)
	awaitSame(t, primary, replica)
	before, pos := snapshots(replica), txid(t, replica)
	want := shell(t, replica.db, readBoth)
	disk.breaksFrom(indexChunk, replica, indexFull)
	shell(t, primary.db, veryLargeTxn)
	replica.awaitStatus("the error", func(st stream.Status) bool { return strings.Contains(st.LastError, syscall.ENOSPC.Error()) })
	if got := shell(t, replica.db, readBoth+"PRAGMA integrity_check"); got != want+"\nok" || txid(t, replica) != pos {
		t.Errorf("a reader gets %q, want %q, as at %d", got, want+"\nok", pos)
	}
	disk.heals()
	awaitSame(t, primary, replica)
	if got := snapshots(replica); got != before {
		t.Errorf("the replica took pages %d times, want that it goes on by position", got-before)
	}
	replica.stop()
	for _, f := range append([]fault{indexUncut, indexFull}, noIndex...) {
		disk.breaks(replica, f)
		replica.spawn(replica.weir, "mount", "-config", replica.conf)
		if code, said := replica.exitCode(), replica.logged(); code == 0 || !strings.Contains(said, "db-shm") || !strings.Contains(said, f.errno.Error()) {
			t.Errorf("%v: got exit code %d and %q, want one that names db-shm, and %v", f, code, said, f.errno)
		}
		disk.heals()
	}
	replica.start()
	awaitSame(t, primary, replica)
}
