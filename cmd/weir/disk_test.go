package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// journalMiB is the size of the smallest journal of an ext4 with blocks of 4 KiB.
const journalMiB = 4

// smallDisk mounts an ext4 of its own of so many MiB, and its journal's, and returns where. With smaller blocks than pages
// of memory, which mkfs.ext4 gives to small disks, a full disk kills SQLite now and then, without weir too (SIGBUS): it
// makes sure of one byte in each page of the wal-index before it maps it.
func smallDisk(t *testing.T, mib int64) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate((mib+journalMiB)<<20), f.Close(), os.Mkdir(at, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	mustCommand(t, "mkfs.ext4", "-q", "-m", "0", "-b", "4096", "-J", fmt.Sprintf("size=%d", journalMiB), image)
	mountLoop(t, image, at)
	return at
}

// onDisk moves a node that was not started to another disk.
func (n *node) onDisk(at string) *node {
	n.t.Helper()
	was := n.dir
	n.dir = filepath.Join(at, n.name)
	n.db = filepath.Join(n.dir, "db")
	conf, err := os.ReadFile(n.conf)
	if err == nil {
		err = errors.Join(os.Mkdir(n.dir, 0o755), os.WriteFile(n.conf, []byte(strings.ReplaceAll(string(conf), was+"/", n.dir+"/")), 0o644))
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return n
}

// fill writes a file until the disk that it is on is full, and returns it.
func fill(t *testing.T, path string) string {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err = f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// insertUntilFull inserts rows one by one, each a transaction, and returns those that SQLite said it has committed and
// what it said of the first it has not.
func insertUntilFull(t *testing.T, db, mode string) (acked []string, refused string) {
	t.Helper()
	mustMode(t, db, mode)
	for i := range 2000 {
		out, err := tryCommand("sqlite3", "-bail", db, fmt.Sprintf("PRAGMA journal_mode=%s; INSERT INTO t (v) VALUES (randomblob(60000)) RETURNING id;", mode))
		if err != nil {
			return acked, out
		}
		lines := strings.Fields(out)
		acked = append(acked, lines[len(lines)-1])
		if i == 1999 {
			t.Fatal("the disk does not get full")
		}
	}
	return acked, ""
}

func mustMode(t *testing.T, db, mode string) {
	t.Helper()
	shell(t, db, "PRAGMA journal_mode="+mode)
}

// The primary's disk gets full, by the database, its journal or WAL, and the log. SQLite says so to the app. What it
// committed arrives; what it did not, does not; and when there is room again all goes on.
func TestPrimaryDiskFull(t *testing.T) {
	skipRaced(t)
	for _, mode := range []string{"WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY"} {
		t.Run(mode, func(t *testing.T) {
			primary := newPrimary(t).onDisk(smallDisk(t, 12))
			primary.start()
			replica := newReplica(t, primary)
			replica.start()
			shell(t, primary.db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);")
			ballast := filepath.Join(primary.dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 4<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			acked, refused := insertUntilFull(t, primary.db, mode)
			if !strings.Contains(refused, "full") && !strings.Contains(refused, "I/O") && !strings.Contains(refused, "unable to open") {
				t.Errorf("got %q when the disk was full, want SQLite to say so", refused)
			}
			for range 3 { // and again
				tryCommand("sqlite3", "-bail", primary.db, "INSERT INTO t (v) VALUES (randomblob(60000));")
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			shell(t, primary.db, "INSERT INTO t (v) VALUES ('after');")
			awaitEqual(t, primary, replica)
			for _, n := range []*node{primary, replica} {
				got := shell(t, n.db, "SELECT count(*) FROM t WHERE id <= "+acked[len(acked)-1])
				if got != fmt.Sprint(len(acked)) {
					t.Errorf("%s: got %s rows of the %d committed", n.name, got, len(acked))
				}
			}
			primary.eventually("a status without an error", func() error {
				if _, body := primary.get("GET", "/status"); strings.Contains(body, "lastError") {
					return errors.New(body)
				}
				return nil
			})
			t.Logf("%d rows until the disk was full: %s", len(acked), strings.TrimSpace(refused))
			replica.stop()
			primary.stop()
		})
	}
}

// The replica's disk gets full while a reader reads. The reader goes on at a state that was committed, the status says
// what is wrong, and when there is room again the replica catches up by itself.
func TestReplicaDiskFull(t *testing.T) {
	skipRaced(t)
	primary := newPrimary(t)
	primary.start()
	disk := smallDisk(t, 16)
	replica := newReplica(t, primary).onDisk(disk)
	replica.start()
	shell(t, primary.db, "PRAGMA journal_mode=WAL;"+auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	reader := startBackground(t, "audit", replica.db)
	reader.next()
	ballast := fill(t, filepath.Join(disk, "ballast"))
	shell(t, primary.db, "CREATE TABLE big (v BLOB);")
	for range 40 {
		shell(t, primary.db, auditStep+"INSERT INTO big VALUES (randomblob(100000));")
	}
	replica.eventually("the error in the status", func() error {
		if _, body := replica.get("GET", "/status"); !strings.Contains(body, "no space left on device") {
			return errors.New(body)
		}
		return nil
	})
	if out, err := tryCommand("sqlite3", replica.db, "PRAGMA integrity_check"); err != nil || strings.TrimSpace(out) != "ok" {
		t.Errorf("with a full disk: got %s, %v", out, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	shell(t, primary.db, auditStep)
	awaitEqual(t, primary, replica)
	reader.finish()
	if got := snapshots(replica); got > 1 {
		t.Errorf("got %d snapshots, want it to go on by position\n%s", got, replica.logged())
	}
}

// A first snapshot that does not fit says so, and comes when there is room.
func TestSnapshotDoesNotFit(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, "CREATE TABLE big (v BLOB); INSERT INTO big VALUES (randomblob(6000000));")
	disk := smallDisk(t, 16)
	ballast := fill(t, filepath.Join(disk, "ballast"))
	if err := os.Truncate(ballast, fileSize(t, ballast)-(2<<20)); err != nil {
		t.Fatal(err)
	}
	replica := newReplica(t, primary).onDisk(disk)
	replica.start()
	replica.awaitLog("no space left on device")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	awaitEqual(t, primary, replica)
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}
