package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"weir/fuse/crashfs"
)

var flagFaults = flag.Int("faults", 6, "how many of the faults TestPrimaryIOErrors and TestReplicaIOErrors have; 0: all")

// fault is a way in which a disk fails.
type fault struct {
	kind  crashfs.Kind
	file  string // a pattern of path.Match, in the node's directory
	errno syscall.Errno
	after int  // operations of this kind that go well before the first that fails
	once  bool // only one operation fails
}

func (f fault) String() string {
	errno := f.errno.Error()
	if f.errno == crashfs.Short {
		errno = "half, then " + syscall.ENOSPC.Error()
	}
	return fmt.Sprintf("%s of %s: %s, after %d, once: %t", f.kind, f.file, errno, f.after, f.once)
}

func (f fault) is(dir string, o crashfs.Op) bool {
	kind := o.Kind
	if kind == crashfs.Fdatasync {
		kind = crashfs.Fsync
	}
	hit, err := path.Match(path.Join(dir, f.file), o.Path)
	return err == nil && hit && kind == f.kind
}

// faultyDisk is a file system with a fault that can be switched on and off.
type faultyDisk struct {
	at string

	mu   sync.Mutex // guards all below
	dir  string     // the node's, on it
	on   bool
	of   fault
	from int64 // only operations at this offset and behind it fail; a Truncate to this size and more
	seen int   // operations of that kind since it was switched on
	hits int   // that failed
}

func newFaultyDisk(t *testing.T) *faultyDisk {
	t.Helper()
	d := new(faultyDisk)
	d.at = mountFailing(t, d.fail)
	return d
}

// mountFailing mounts a disk on which the operations fail that fail has an error for, and returns where.
func mountFailing(t *testing.T, fail func(int, crashfs.Op) syscall.Errno) (at string) {
	t.Helper()
	base := t.TempDir()
	at, below := filepath.Join(base, "disk"), filepath.Join(base, "below")
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(below, 0o755)); err != nil {
		t.Fatal(err)
	}
	f, err := crashfs.Mount(at, below, nil, fail)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return at
}

func (d *faultyDisk) fail(_ int, o crashfs.Op) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on || !d.of.is(d.dir, o) || o.Off < d.from {
		return 0
	}
	d.seen++
	if d.seen <= d.of.after || d.of.once && d.hits > 0 {
		return 0
	}
	d.hits++
	if d.of.errno == crashfs.Short && d.hits > 1 {
		return syscall.ENOSPC
	}
	return d.of.errno
}

// breaks has the disk of a node fail.
func (d *faultyDisk) breaks(n *node, f fault) { d.breaksFrom(0, n, f) }

// breaksFrom has it fail from an offset on.
func (d *faultyDisk) breaksFrom(from int64, n *node, f fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dir, d.on, d.of, d.from, d.seen, d.hits = n.name, true, f, from, 0, 0
}

// heals ends the fault, and returns how many operations failed.
func (d *faultyDisk) heals() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = false
	return d.hits
}

// someFaults chooses from all, evenly, or takes all.
func someFaults(all []fault) (some []fault) {
	n := len(all)
	if *flagFaults > 0 {
		n = min(n, *flagFaults)
	}
	for i := range n {
		some = append(some, all[(2*i+1)*len(all)/(2*n)])
	}
	return some
}

// primaryFaults are of SQLite's files, and of weir's.
func primaryFaults(companion string) (all []fault) {
	const log = ".weir/db/log-*"
	for _, once := range []bool{false, true} {
		for _, f := range []fault{
			{crashfs.Write, companion, syscall.EIO, 3, once},
			{crashfs.Write, companion, syscall.ENOSPC, 0, once},
			{crashfs.Write, companion, crashfs.Short, 2, once},
			{crashfs.Read, companion, syscall.EIO, 0, once},
			{crashfs.Fsync, companion, syscall.EIO, 0, once},
			{crashfs.Create, companion, syscall.EIO, 0, once},
			{crashfs.Unlink, companion, syscall.EIO, 0, once},
			{crashfs.Write, "db", syscall.EIO, 1, once},
			{crashfs.Write, "db", syscall.ENOSPC, 2, once},
			{crashfs.Write, "db", crashfs.Short, 0, once},
			{crashfs.Fsync, "db", syscall.EIO, 0, once},
			{crashfs.Truncate, "db", syscall.EIO, 0, once},
			{crashfs.Read, "db", syscall.EIO, 0, once},
			{crashfs.Write, log, syscall.EIO, 0, once},
			{crashfs.Write, log, syscall.ENOSPC, 1, once},
			{crashfs.Write, log, crashfs.Short, 0, once},
			{crashfs.Fsync, log, syscall.EIO, 0, once},
			{crashfs.Read, log, syscall.EIO, 0, once},
		} {
			all = append(all, f)
		}
	}
	return all
}

// The primary's disk fails, in SQLite's files or weir's. What the app was told to be committed is, in order, and arrives;
// nothing else does, but for the one commit that SQLite had in hand when it failed. When the disk is well again all
// goes on, without a restart. A reader of the replica sees only states that were committed.
func TestPrimaryIOErrors(t *testing.T) {
	skipRaced(t)
	for mode, companion := range map[string]string{"WAL": "db-wal", "DELETE": "db-journal"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			disk := newFaultyDisk(t)
			primary := newPrimary(t).onDisk(disk.at)
			primary.start()
			replica := newReplica(t, primary)
			replica.start()
			shell(t, primary.db, "PRAGMA journal_mode="+mode+";"+auditSchema+auditStep)
			awaitEqual(t, primary, replica)
			reader := startBackground(t, "audit", replica.db)
			reader.next()
			hit, faults := 0, someFaults(primaryFaults(companion))
			for _, f := range faults {
				if primaryFault(t, disk, primary, replica, f) > 0 {
					hit++
				}
			}
			reader.finish()
			if hit < len(faults)/2 {
				t.Errorf("%d of %d faults were met, want at least half", hit, len(faults))
			}
			t.Logf("%d of %d faults were met", hit, len(faults))
			replica.stop()
			primary.stop()
		})
	}
}

// faultySteps is how many transactions an app tries on a bad disk.
const faultySteps = 3

// primaryFault has the primary live through a fault, and returns how many operations failed.
func primaryFault(t *testing.T, disk *faultyDisk, primary, replica *node, f fault) (hits int) {
	t.Helper()
	before := counterOf(t, primary.db)
	disk.breaks(primary, f)
	told := 0
	for range faultySteps {
		out, err := tryShell(primary.db, "PRAGMA wal_autocheckpoint = 6; PRAGMA cache_size = 5;"+auditStep)
		if err == nil {
			told++
		} else if !saysFailed(out) {
			t.Errorf("%v: SQLite says %q, want an I/O error or a full disk", f, out)
		}
	}
	hits = disk.heals()
	got := counterOf(t, primary.db)
	if got < before+told || got > before+faultySteps {
		t.Errorf("%v: the counter is %d, want it from %d, of which the app was told, to %d", f, got, before+told, before+faultySteps)
	}
	awaitEqual(t, primary, replica) // without another commit
	shell(t, primary.db, auditStep)
	awaitEqual(t, primary, replica)
	primary.within(3*patience, "a status without an error after "+f.String(), func() error {
		if _, body := primary.get("GET", "/status"); strings.Contains(body, "lastError") {
			return errors.New(body)
		}
		return nil
	})
	return hits
}

// saysFailed tells whether it is how SQLite speaks of a disk that fails. It calls some an EIO of a read a malformed
// database (SQLITE_IOERR_CORRUPTFS).
func saysFailed(out string) bool {
	for _, text := range []string{"I/O error", "is full", "unable to open", "malformed"} {
		if strings.Contains(out, text) {
			return true
		}
	}
	return false
}

func counterOf(t *testing.T, db string) int {
	t.Helper()
	n, err := strconv.Atoi(shell(t, db, "SELECT n FROM counter"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
