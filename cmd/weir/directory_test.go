package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weir/stream"
)

// leadAll makes the node a primary of the databases in its directory that are called *.db.
func (n *node) leadAll(more string) {
	n.t.Helper()
	n.configure("addr: %q\ndbs:\n  - dir: %s\n    pattern: \"*.db\"\n%s", n.addr, n.dir, more)
}

// followAll makes the node a replica of those of another.
func (n *node) followAll(upstream *node, more string) {
	n.t.Helper()
	n.leadAll(fmt.Sprintf("    upstream:\n      url: http://%s\n      path: %s\n%s", upstream.addr, upstream.dir, more))
}

// startDirectories starts a primary and a replica of a directory.
func startDirectories(t *testing.T, more string) (primary, replica *node) {
	t.Helper()
	primary, replica = newNode(t, "primary"), newNode(t, "replica")
	primary.leadAll(more)
	replica.followAll(primary, more)
	primary.start()
	replica.start()
	return primary, replica
}

// of is the node for one of its databases.
func (n *node) of(name string) *node {
	one := *n
	one.db = filepath.Join(n.dir, name)
	return &one
}

// awaitGone waits until the replica has no file that is called as the database or beside it.
func (n *node) awaitGone(name string) {
	n.t.Helper()
	n.eventually(name+" to be gone", func() error {
		found, err := filepath.Glob(filepath.Join(n.dir, name) + "*")
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("there is %s", found)
		}
		return err
	})
}

// isAway requires that there is no file.
func isAway(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: got %v, want no such file", path, err)
	}
}

// statuses are what the node says of its databases and of its directory, by path below it.
func (n *node) statuses() map[string]stream.Status {
	n.t.Helper()
	_, body := n.get("GET", "/status")
	var all []stream.Status
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		n.t.Fatal(err)
	}
	of := make(map[string]stream.Status)
	for _, s := range all {
		of[strings.TrimPrefix(s.Path, n.dir+"/")] = s
	}
	return of
}

// requireWell requires that weir status and /ready say that all is well.
func (n *node) requireWell() {
	n.t.Helper()
	n.eventually("weir to be well", func() error {
		if status, body := n.get("GET", "/ready"); status != 200 {
			return fmt.Errorf("/ready: got %d %s", status, body)
		}
		_, err := tryCommand(weirBinary, "status", "-config", n.conf)
		return err
	})
}

// Databases that an app makes in the directory are replicated, in all journal modes, whether a reader has looked for them
// before or not; those that it removes are gone, and kept aside on the replica. Who has one open there goes on reading.
func TestDirectory(t *testing.T) {
	primary, replica := startDirectories(t, "")
	primary.requireWell()
	replica.requireWell()
	names := []string{"delete.db", "truncate.db", "persist.db", "wal.db"}
	for _, name := range names {
		isAway(t, filepath.Join(replica.dir, name))
		isAway(t, filepath.Join(replica.dir, name+"-wal"))
		shell(t, filepath.Join(primary.dir, name), "PRAGMA journal_mode = "+strings.TrimSuffix(name, ".db")+";"+auditSchema+auditStep)
	}
	shell(t, filepath.Join(primary.dir, "other"), auditSchema)
	for _, name := range names {
		awaitEqual(t, primary.of(name), replica.of(name))
		shell(t, filepath.Join(primary.dir, name), auditStep)
		awaitEqual(t, primary.of(name), replica.of(name))
	}
	isAway(t, filepath.Join(replica.dir, "other"))
	primary.requireWell()
	replica.requireWell()

	gone := filepath.Join(replica.dir, "wal.db")
	reader := startBackground(t, "hold", gone, "SELECT n FROM counter")
	if got := reader.next(); got != "2" {
		t.Fatalf("got counter %s on the replica, want 2", got)
	}
	for _, name := range []string{"delete.db", "wal.db"} {
		removeDatabase(t, filepath.Join(primary.dir, name))
		replica.awaitGone(name)
	}
	reader.kill()
	if got := len(primary.statuses()); got != 3 {
		t.Errorf("the primary serves %d databases and directories, want 2 and one", got)
	}
	replica.requireWell()

	// Another one of that name is another, however soon it comes.
	for i := range 3 {
		db := filepath.Join(primary.dir, "wal.db")
		shell(t, db, auditSchema+strings.Repeat(auditStep, 1+i))
		if i < 2 {
			removeDatabase(t, db)
		}
	}
	awaitEqual(t, primary.of("wal.db"), replica.of("wal.db"))
	replica.stop()
	for _, name := range []string{"delete.db", "wal.db"} {
		aside := filepath.Join(replica.dir, ".weir", name, "removed.0.bad", name)
		if got := shell(t, aside, "SELECT n FROM counter"); got != "2" {
			t.Errorf("%s: got counter %s set aside, want 2", name, got)
		}
	}
}

// removeDatabase removes a database as its app does.
func removeDatabase(t *testing.T, db string) {
	t.Helper()
	if err := os.Remove(db); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Remove(db + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// Databases are found in directories that come later, and where directories get other names.
func TestDirectoryRecursive(t *testing.T) {
	primary, replica := startDirectories(t, "    recursive: true\n")
	deep := filepath.Join("tenants", "one", "x.db")
	isAway(t, filepath.Join(replica.dir, "tenants"))
	if err := os.MkdirAll(filepath.Join(primary.dir, filepath.Dir(deep)), 0o755); err != nil {
		t.Fatal(err)
	}
	shell(t, filepath.Join(primary.dir, deep), "PRAGMA journal_mode = WAL;"+auditSchema+auditStep)
	awaitEqual(t, primary.of(deep), replica.of(deep))
	// A name of a database may be that of a directory elsewhere.
	shell(t, filepath.Join(primary.dir, "one.db"), auditSchema)
	awaitEqual(t, primary.of("one.db"), replica.of("one.db"))

	// A directory with databases is moved as to another file system.
	from, to := filepath.Join(primary.dir, "tenants", "one"), filepath.Join(primary.dir, "tenants", "two.db")
	if err := os.Rename(from, to); !errors.Is(err, syscall.EXDEV) {
		t.Fatalf("rename a directory with databases: got %v, want %v", err, syscall.EXDEV)
	}
	mustCommand(t, "mv", from, to)
	moved := filepath.Join("tenants", "two.db", "x.db")
	awaitEqual(t, primary.of(moved), replica.of(moved))
	replica.awaitGone(filepath.Join("tenants", "one"))
	shell(t, filepath.Join(primary.dir, moved), auditStep)
	awaitEqual(t, primary.of(moved), replica.of(moved))
	if got, err := tryCommand(weirBinary, "snapshot", "-o", filepath.Join(t.TempDir(), "copy"), filepath.Join(replica.dir, moved)); err != nil {
		t.Errorf("weir snapshot: %v: %s", err, got)
	}
	if got, want := readFile(t, filepath.Join(replica.dir, moved+"-pos")), readFile(t, filepath.Join(primary.dir, moved+"-pos")); got != want {
		t.Errorf("got position %s on the replica, want %s", got, want)
	}
	// A database in the place of a directory, and the reverse.
	mustCommand(t, "rm", "-r", filepath.Join(primary.dir, "tenants"))
	replica.awaitGone("tenants")
	shell(t, filepath.Join(primary.dir, "tenants.db"), auditSchema+auditStep)
	awaitEqual(t, primary.of("tenants.db"), replica.of("tenants.db"))
	removeDatabase(t, filepath.Join(primary.dir, "tenants.db"))
	inside := filepath.Join("tenants.db", "y.db")
	if err := os.Mkdir(filepath.Join(primary.dir, "tenants.db"), 0o755); err != nil {
		t.Fatal(err)
	}
	shell(t, filepath.Join(primary.dir, inside), auditSchema+auditStep)
	awaitEqual(t, primary.of(inside), replica.of(inside))
	replica.requireWell()
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// A token sees what it may read, and so the replica has that alone.
func TestDirectoryToken(t *testing.T) {
	primary, replica := newNode(t, "primary"), newNode(t, "replica")
	primary.leadAll(fmt.Sprintf("tokens:\n  - {name: all, token: %s}\n  - {name: a, token: %s, dbs: [%s/a*.db]}\n", replicaToken, otherToken, primary.dir))
	replica.followAll(primary, "      token: "+otherToken+"\n")
	primary.start()
	for _, name := range []string{"b.db", "a1.db", "a2.db"} {
		shell(t, filepath.Join(primary.dir, name), auditSchema+auditStep)
	}
	replica.start()
	for _, name := range []string{"a1.db", "a2.db"} {
		awaitEqual(t, primary.of(name), replica.of(name))
	}
	isAway(t, filepath.Join(replica.dir, "b.db"))
	if got := replica.statuses(); len(got) != 3 {
		t.Errorf("got %v on the replica, want two databases and the directory", got)
	}
	replica.requireWell()
	// With a token that is none, nothing is known, and nothing taken away.
	replica.stop()
	replica.followAll(primary, "      token: "+unknownToken+"\n")
	replica.start()
	replica.awaitLog("can't follow the upstream's directory")
	if got := shell(t, filepath.Join(replica.dir, "a1.db"), "SELECT n FROM counter"); got != "1" {
		t.Errorf("got counter %s, want 1", got)
	}
	if s := replica.statuses()["*.db"]; s.Connected || s.Ready || !strings.Contains(s.LastError, "token") {
		t.Errorf("got status %+v of the directory, want an error that names the token", s)
	}
	if _, err := tryCommand(weirBinary, "status", "-config", replica.conf); exitCodeOf(err) != exitNot {
		t.Errorf("weir status: got %v, want exit code %d", err, exitNot)
	}
}

// What comes and goes while one side is away is found when it is back; while the primary is away nothing goes.
func TestDirectoryRestart(t *testing.T) {
	primary, replica := startDirectories(t, "    recursive: true\n")
	if err := os.Mkdir(filepath.Join(primary.dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	names := []string{"a.db", "b.db", "sub/c.db"}
	for _, name := range names {
		shell(t, filepath.Join(primary.dir, name), "PRAGMA journal_mode = WAL;"+auditSchema+auditStep)
		awaitEqual(t, primary.of(name), replica.of(name))
	}
	requireAll := func(counter string) {
		t.Helper()
		for _, name := range names {
			if got := shell(t, filepath.Join(replica.dir, name), "SELECT n FROM counter"); got != counter {
				t.Errorf("%s: got counter %s, want %s", name, got, counter)
			}
		}
	}
	primary.kill()
	replica.awaitLog("can't follow the upstream's directory")
	requireAll("1")
	replica.stop()
	replica.start() // without an upstream
	requireAll("1")
	if s := replica.statuses()["**/*.db"]; s.Ready || s.Connected {
		t.Errorf("got status %+v of the directory, want none heard of", s)
	}
	primary.start()
	for _, name := range names {
		shell(t, filepath.Join(primary.dir, name), auditStep)
		awaitEqual(t, primary.of(name), replica.of(name))
	}
	requireAll("2")
	if got := snapshots(replica); got != 0 {
		t.Errorf("got %d snapshots, want none: the replicas go on where they were\n%s", got, replica.logged())
	}

	replica.kill()
	removeDatabase(t, filepath.Join(primary.dir, "a.db"))
	shell(t, filepath.Join(primary.dir, "d.db"), auditSchema)
	shell(t, filepath.Join(primary.dir, "b.db"), auditStep)
	primary.stop()
	removeDatabase(t, filepath.Join(primary.dir, "sub", "c.db")) // unseen
	shell(t, filepath.Join(primary.dir, "e.db"), auditSchema)
	primary.start()
	replica.start()
	for _, name := range []string{"b.db", "d.db", "e.db"} {
		awaitEqual(t, primary.of(name), replica.of(name))
	}
	for _, name := range []string{"a.db", "sub"} {
		replica.awaitGone(name)
	}
	replica.requireWell()
}

// A primary whose directory is another one, as without its disk, takes nothing away from replicas.
func TestDirectoryIsAnother(t *testing.T) {
	primary, replica := startDirectories(t, "")
	shell(t, filepath.Join(primary.dir, "a.db"), auditSchema+auditStep)
	awaitEqual(t, primary.of("a.db"), replica.of("a.db"))
	primary.stop()
	if err := os.Rename(primary.dir, primary.dir+".away"); err != nil {
		t.Fatal(err)
	}
	primary.start()
	replica.awaitLog(stream.ErrOtherDirectory.Error())
	if got := shell(t, filepath.Join(replica.dir, "a.db"), "SELECT n FROM counter"); got != "1" {
		t.Errorf("got counter %s, want 1", got)
	}
	primary.stop()
	if err := errors.Join(os.RemoveAll(primary.dir), os.Rename(primary.dir+".away", primary.dir)); err != nil {
		t.Fatal(err)
	}
	primary.start()
	shell(t, filepath.Join(primary.dir, "a.db"), auditStep)
	awaitEqual(t, primary.of("a.db"), replica.of("a.db"))
	replica.requireWell()
}

// A replica is followed by another, which takes nothing for gone that its upstream does not know of yet.
func TestDirectoryChain(t *testing.T) {
	primary, middle := startDirectories(t, "")
	last := newNode(t, "last")
	last.followAll(middle, "")
	last.start()
	shell(t, filepath.Join(primary.dir, "a.db"), auditSchema+auditStep)
	shell(t, filepath.Join(primary.dir, "b.db"), auditSchema+auditStep)
	for _, name := range []string{"a.db", "b.db"} {
		awaitEqual(t, primary.of(name), last.of(name))
	}
	primary.stop()
	middle.kill()
	mustCommand(t, "umount", middle.dir)
	removeDatabase(t, filepath.Join(middle.dir, "a.db"))
	middle.start()
	last.awaitLog("it is not known yet which databases")
	if got := shell(t, filepath.Join(last.dir, "a.db"), "SELECT n FROM counter"); got != "1" {
		t.Errorf("got counter %s, want 1", got)
	}
	primary.start()
	shell(t, filepath.Join(primary.dir, "a.db"), auditStep)
	removeDatabase(t, filepath.Join(primary.dir, "b.db"))
	awaitEqual(t, primary.of("a.db"), last.of("a.db"))
	last.awaitGone("b.db")
}
