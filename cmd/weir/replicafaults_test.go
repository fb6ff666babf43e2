package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"weir/fuse/crashfs"
)

// replicaFaults are of the replica's database and of weir's files beside it.
func replicaFaults() (all []fault) {
	const log = ".weir/db/log-*"
	for _, once := range []bool{false, true} {
		for _, f := range []fault{
			{crashfs.Write, "db-wal", syscall.EIO, 0, once},
			{crashfs.Write, "db-wal", crashfs.Short, 1, once},
			{crashfs.Read, "db-wal", syscall.EIO, 0, once},
			{crashfs.Fsync, "db-wal", syscall.EIO, 0, once},
			{crashfs.Write, "db", syscall.EIO, 0, once},
			{crashfs.Write, "db", crashfs.Short, 2, once},
			{crashfs.Read, "db", syscall.EIO, 0, once},
			{crashfs.Fsync, "db", syscall.EIO, 0, once},
			{crashfs.Truncate, "db*", syscall.EIO, 0, once},
			{crashfs.Write, log, syscall.EIO, 0, once},
			{crashfs.Write, log, syscall.ENOSPC, 1, once},
			{crashfs.Write, log, crashfs.Short, 0, once},
			{crashfs.Read, log, syscall.EIO, 0, once},
			{crashfs.Fsync, log, syscall.EIO, 0, once},
		} {
			all = append(all, f)
		}
	}
	return all
}

// agree says whether a reader sees a state that was committed.
const agree = `SELECT (SELECT n FROM counter) = (SELECT n FROM proof) AND (SELECT total FROM proof) = (SELECT coalesce(sum(v), 0) FROM item)`

// The replica's disk fails, in the database or in weir's files. Its readers get a state that was committed, or SQLite's
// word for a disk that fails. When the disk is well again the replica catches up by itself; only after a sync that failed
// it says that weir is to be started again.
func TestReplicaIOErrors(t *testing.T) {
	skipRaced(t)
	primary := newPrimary(t)
	primary.start()
	disk := newFaultyDisk(t)
	replica := newReplica(t, primary).onDisk(disk.at)
	replica.start()
	shell(t, primary.db, "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; CREATE TABLE big (v BLOB); INSERT INTO big VALUES (0);"+auditSchema+strings.Repeat(auditStep, 20))
	awaitSame(t, primary, replica)
	hit, faults := 0, someFaults(replicaFaults())
	for _, f := range faults {
		if replicaFault(t, disk, primary, replica, f) > 0 {
			hit++
		}
	}
	if hit < len(faults)/2 {
		t.Errorf("%d of %d faults were met, want at least half", hit, len(faults))
	}
	t.Logf("%d of %d faults were met", hit, len(faults))
	replica.stop()
	primary.stop()
}

// replicaFault has the replica live through a fault, and returns how many operations failed.
func replicaFault(t *testing.T, disk *faultyDisk, primary, replica *node, f fault) (hits int) {
	t.Helper()
	disk.breaks(replica, f)
	for range faultySteps { // together they fill a WAL, so that there is a checkpoint
		shell(t, primary.db, auditStep+"UPDATE big SET v = randomblob(300000);")
		out, err := tryShell(replica.db, agree)
		if err == nil && out != "1" || err != nil && !saysFailed(out) {
			t.Errorf("%v: a reader gets %q, %v", f, out, err)
		}
	}
	hits = disk.heals()
	shell(t, primary.db, auditStep)
	replica.within(3*patience, "the primary's position, without an error, after "+f.String(), func() error {
		if f.kind == crashfs.Fsync && strings.Contains(replica.logged(), "restart weir") {
			replica.signal(syscall.SIGTERM)
			replica.exitCode() // it says again that the sync failed
			replica.start()
		}
		if got, want := replica.pos(), primary.pos(); got != want {
			return fmt.Errorf("it is at %s, the primary at %s", got, want)
		}
		if _, body := replica.get("GET", "/status"); strings.Contains(body, "lastError") {
			return errors.New(body)
		}
		return nil
	})
	awaitSame(t, primary, replica)
	return hits
}
