package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// projDB is a real database of some 9 MB, from Debian's package proj-data.
const projDB = "/usr/share/proj/proj.db"

func needProjDB(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(projDB); err != nil {
		t.Fatalf("%v: run apt-get install proj-data", err)
	}
}

func TestRealDatabase(t *testing.T) {
	needProjDB(t)
	for _, tt := range []struct {
		name string
		load string // $1 is the database
	}{
		{"dump", `sqlite3 ` + projDB + ` .dump | sqlite3 "$1"`},
		{"cp", `cp ` + projDB + ` "$1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			primary, replica := startPair(t)
			mustCommand(t, "sh", "-ec", tt.load, "sh", primary.db)
			awaitEqual(t, primary, replica)
			const query = "SELECT count(*), sum(length(name)) FROM crs_view"
			if got, want := shell(t, replica.db, query), shell(t, projDB, query); got != want {
				t.Errorf("got %s on the replica, want %s", got, want)
			}
			replica.stop()
			primary.stop()
		})
	}
}

// A database that exists before weir does reaches the replica as a snapshot.
func TestExistingDatabase(t *testing.T) {
	needProjDB(t)
	primary := newPrimary(t)
	mustCommand(t, "cp", projDB, primary.db)
	primary.start()
	replica := newReplica(t, primary)
	replica.start()
	awaitEqual(t, primary, replica)
	if got := snapshots(replica); got != 1 {
		t.Errorf("got %d snapshots, want 1", got)
	}
	shell(t, primary.db, "CREATE TABLE mine (x); INSERT INTO mine VALUES (1);")
	awaitEqual(t, primary, replica)
}

// In every journal mode, a reader on the replica sees states that were committed, no other, and in the end the last.
func TestReaderSeesCommittedStates(t *testing.T) {
	const perMode = 60
	primary, replica := startPair(t)
	shell(t, primary.db, auditSchema)
	awaitEqual(t, primary, replica)
	reader := startBackground(t, "audit", replica.db)
	if got := reader.next(); got != "0" {
		t.Fatalf("got counter %s at first, want 0", got)
	}
	want := 0
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST", "WAL", "DELETE", "WAL"} {
		got := shell(t, primary.db, "PRAGMA journal_mode = "+mode+";\n"+strings.Repeat(auditStep+auditStep+auditRollback, perMode/2))
		if got != strings.ToLower(mode) {
			t.Fatalf("got journal mode %q, want %s", got, mode)
		}
		want += perMode
		awaitCounter(t, reader, want)
		awaitEqual(t, primary, replica)
	}
	reader.finish()
	replica.stop()
	primary.stop()
}

// awaitCounter reads what the auditing reader prints until it is want.
func awaitCounter(t *testing.T, reader *background, want int) {
	t.Helper()
	for seen := 0; ; seen++ {
		if reader.next() == strconv.Itoa(want) {
			t.Logf("the reader saw %d states up to %d", seen+1, want)
			return
		}
	}
}

// A read transaction that stays open keeps its snapshot and holds nobody up.
func TestLongReader(t *testing.T) {
	const length = 3 * time.Second
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			primary, replica := startPair(t)
			shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+auditSchema+auditStep)
			awaitEqual(t, primary, replica)
			old := startBackground(t, "hold", replica.db, "SELECT n, (SELECT sum(v) FROM item) FROM counter")
			before := old.next()
			reader := startBackground(t, "audit", replica.db)
			steps := 1
			for end := time.Now().Add(length); time.Now().Before(end); steps += 20 {
				shell(t, primary.db, strings.Repeat(auditStep, 20))
				// "At once" is judged leniently: the old reader still has seconds to go.
				awaitCounter(t, reader, steps+20)
			}
			if after := old.finish(); len(after) != 1 || after[0] != before {
				t.Errorf("the old reader got %q after %d transactions, want %q as before", after, steps, before)
			}
			reader.finish()
			awaitEqual(t, primary, replica)
		})
	}
}

func TestReplicaBeforePrimary(t *testing.T) {
	primary := newPrimary(t)
	replica := newReplica(t, primary)
	replica.start()
	if _, err := os.Stat(replica.db); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for the database before there is a primary, want that it does not exist", err)
	}
	primary.start()
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary, replica)
}

// While the primary is away the replica serves its last state, and goes on by itself.
func TestPrimaryAway(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	primary.stop()
	if got := shell(t, replica.db, "SELECT n FROM counter"); got != "1" {
		t.Errorf("got counter %s without the primary, want 1", got)
	}
	primary.start()
	shell(t, primary.db, auditStep)
	awaitEqual(t, primary, replica)
	if got := shell(t, replica.db, "SELECT n FROM counter"); got != "2" {
		t.Errorf("got counter %s, want 2", got)
	}
}

// A node that is killed or stopped and started again goes on from its position, without a snapshot.
func TestRestart(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE"} {
		for _, end := range []struct {
			name string
			of   func(*node)
		}{{"stopped", (*node).stop}, {"killed", (*node).kill}} {
			for _, which := range []string{"replica", "primary"} {
				t.Run(fmt.Sprintf("%s %s in %s", which, end.name, mode), func(t *testing.T) {
					t.Parallel()
					primary, replica := startPair(t)
					shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+auditSchema+strings.Repeat(auditStep, 5))
					awaitEqual(t, primary, replica)
					n := map[string]*node{"replica": replica, "primary": primary}[which]
					before := snapshots(replica)
					end.of(n)
					if n == replica {
						before = 0
						shell(t, primary.db, strings.Repeat(auditStep, 5))
					}
					n.start()
					shell(t, primary.db, strings.Repeat(auditStep, 5))
					awaitEqual(t, primary, replica)
					if got := snapshots(replica); got != before {
						t.Errorf("got %d snapshots, want %d as before", got, before)
					}
				})
			}
		}
	}
}

// A reader that is there all of the time gets right answers while the replica's primary is killed.
func TestReaderDuringPrimaryRestart(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, "PRAGMA journal_mode = WAL;"+auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	reader := startBackground(t, "audit", replica.db)
	for i := range 3 {
		primary.kill()
		primary.start()
		shell(t, primary.db, strings.Repeat(auditStep, 10))
		awaitCounter(t, reader, 1+10*(i+1))
	}
	reader.finish()
	awaitEqual(t, primary, replica)
}

// Several databases, in several directories, on each side.
func TestManyDatabases(t *testing.T) {
	a, b := newNode(t, "primary"), newNode(t, "replica")
	paths := []string{"/one.db", "/two.db", "/sub/three.db"}
	for _, n := range []*node{a, b} {
		if err := os.Mkdir(n.dir+"/sub", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	primaryConf, replicaConf := fmt.Sprintf("addr: %q\ndbs:\n", a.addr), "addr: \"127.0.0.1:0\"\ndbs:\n"
	for _, p := range paths {
		primaryConf += fmt.Sprintf("  - path: %s\n", a.dir+p)
		replicaConf += fmt.Sprintf("  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n", b.dir+p, a.addr, a.dir+p)
	}
	a.configure("%s", primaryConf)
	b.configure("%s", replicaConf)
	a.start()
	b.start()
	for i, p := range paths {
		shell(t, a.dir+p, fmt.Sprintf("CREATE TABLE t (x); INSERT INTO t VALUES (%d);", i))
	}
	for _, p := range paths {
		awaitEqual(t, &node{db: a.dir + p}, &node{t: t, name: b.name, log: b.log, db: b.dir + p})
	}
	b.stop()
	a.stop()
}

// A replica of a replica.
func TestChain(t *testing.T) {
	primary, middle := startPair(t)
	last := newReplica(t, middle)
	last.start()
	for i := range 3 {
		script := auditStep
		if i == 0 {
			script = auditSchema
		}
		shell(t, primary.db, script)
		awaitEqual(t, primary, middle)
		awaitEqual(t, primary, last)
	}
}

// Files beside the database are the application's own: they pass through.
func TestOtherFiles(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	file := primary.dir + "/sub/notes.txt"
	if err := os.Mkdir(primary.dir+"/sub", 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("hello"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file+".old", file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("notes.txt", primary.dir+"/sub/link"); err != nil {
		t.Fatal(err)
	}
	primary.stop()
	for _, path := range []string{file, file + ".old", primary.dir + "/sub/link"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != "hello" {
			t.Errorf("%s: got %q, %v below the mount, want hello", path, got, err)
		}
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("got %v, %v, want mode 0640", fi, err)
	}
}

// What one process writes in the mount belongs to it.
func TestOwnership(t *testing.T) {
	primary := newPrimary(t)
	cmd := command("sqlite3", primary.db, "CREATE TABLE t (x)")
	primary.asNobody(cmd)
	if err := os.Chown(primary.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	primary.start()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("as nobody: %v\n%s", err, out)
	}
	primary.stop()
	fi, err := os.Stat(primary.db)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != nobody || st.Gid != nobody {
		t.Errorf("got owner %d:%d, want %d:%d", st.Uid, st.Gid, nobody, nobody)
	}
}
