package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var allClients = flag.Bool("clients", false, "run the clients that need packages of npm, Go and Debian, too")

// app is a program in testdata/clients. It uses SQLite as the users of a library do:
//
//	APP write DB MODE COUNT AUTHOR   sets the journal mode, commits COUNT notes, each in a transaction, and rolls one back
//	APP read DB                      prints what there is at one moment: how many notes, and for each author
//	                                 AUTHOR|COUNT|SUM(n)|BYTES
//
// It prints an error in the words of its language, and does not end with 0 then.
type app struct {
	name    string
	command []string
	refusal string // what it says where it may not write
}

// notesOf is what an app prints of count notes of one author.
func notesOf(author string, count int) string {
	bytes := 0
	for n := range count {
		bytes += (n + 1) * 97 % 5000
	}
	return fmt.Sprintf("%s|%d|%d|%d", author, count, count*(count+1)/2, bytes)
}

func (a app) read(db string) (string, error) {
	return tryCommand(append(a.command, "read", db)...)
}

func (a app) write(db, mode string, count int) (string, error) {
	return tryCommand(append(a.command, "write", db, mode, strconv.Itoa(count), a.name)...)
}

func apps(t *testing.T) []app {
	t.Helper()
	const readonly = "attempt to write a readonly database"
	source := func(name string) string { return filepath.Join("testdata", "clients", name) }
	found := []app{
		{"shell", []string{"sh", source("shell.sh")}, readonly},
		{"python", []string{"python3", source("notes.py")}, "sqlite3.OperationalError: " + readonly},
	}
	if !*allClients {
		return found
	}
	c := buildClients(t)
	return append(found,
		app{"sqlalchemy", []string{debianPython, source("orm.py")}, "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) " + readonly},
		app{"dbi", []string{"perl", source("dbi.pl")}, "DBD::SQLite::db do failed: " + readonly},
		app{"better-sqlite3", []string{"env", "NODE_PATH=" + c.modules, "node", source("notes.js")}, "SqliteError: " + readonly},
		app{"mattn", []string{c.goClient, "sqlite3"}, "Error: " + readonly},
		app{"modernc", []string{c.goClient, "sqlite"}, "Error: " + readonly + " (8)"},
	)
}

// TestClientsBuild fetches and builds what the clients need, so that a machine that can't have it can be told from one on
// which they fail.
func TestClientsBuild(t *testing.T) {
	if !*allClients {
		t.Skip("asked for by -clients: it fetches packages")
	}
	buildClients(t)
	buildLitestream(t)
}

// Each client makes a database by itself, and all write one together, each with a SQLite of its own: what each committed is on
// the replica, where each reads it and is told that it may not write.
func TestClientsOnBoth(t *testing.T) {
	all := apps(t)
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			primary, replica := newAppNodes(t, all)
			for _, a := range all {
				t.Run(a.name, func(t *testing.T) { a.alone(t, primary, replica, mode) })
			}
			t.Run("together", func(t *testing.T) { together(t, all, primary, replica, mode) })
		})
	}
}

// newAppNodes starts a primary and a replica with a database for each app, and one for all.
func newAppNodes(t *testing.T, all []app) (primary, replica *node) {
	t.Helper()
	primary, replica = newNode(t, "primary"), newNode(t, "replica")
	confs := map[*node]string{}
	for _, name := range append(names(all), "db") {
		confs[primary] += fmt.Sprintf("  - path: %s/%s\n", primary.dir, name)
		confs[replica] += fmt.Sprintf("  - path: %s/%s\n    upstream: {url: \"http://%s\", path: %s/%s}\n", replica.dir, name, primary.addr, primary.dir, name)
	}
	for _, n := range []*node{primary, replica} {
		n.configure("addr: %q\ndbs:\n%s", n.addr, confs[n])
		n.start()
	}
	return primary, replica
}

func names(all []app) (names []string) {
	for _, a := range all {
		names = append(names, a.name)
	}
	return names
}

// alone has one app make its database, read it on the replica, and try to write it there.
func (a app) alone(t *testing.T, primary, replica *node, mode string) {
	const count = 20
	if out, err := a.write(filepath.Join(primary.dir, a.name), mode, count); err != nil {
		t.Fatalf("write on the primary: %v\n%s", err, out)
	}
	if got := shell(t, filepath.Join(primary.dir, a.name), "PRAGMA journal_mode; PRAGMA integrity_check"); got != strings.ToLower(mode)+"\nok" {
		t.Errorf("on the primary: got %q, want %s and ok", got, mode)
	}
	db := filepath.Join(replica.dir, a.name)
	requireNotes(t, a, replica, db, fmt.Sprintf("%d\n%s", count, notesOf(a.name, count)))
	out, err := a.write(db, "WAL", 1)
	if err == nil || !strings.Contains(out, a.refusal) {
		t.Errorf("write on the replica: got %v, %q, want %q", err, out, a.refusal)
	}
	if got := shell(t, db, "SELECT count(*) FROM note; PRAGMA integrity_check"); got != fmt.Sprintf("%d\nok", count) {
		t.Errorf("on the replica: got %q, want %d and ok", got, count)
	}
}

// requireNotes waits until the app reads want on the replica. Each state that it sees until then must be one that was
// committed.
func requireNotes(t *testing.T, a app, replica *node, db, want string) {
	t.Helper()
	replica.eventually("what was written", func() error {
		got, err := a.read(db)
		if err != nil {
			if noNotesYet(got) {
				return errors.New(got)
			}
			t.Fatalf("%s: %v\n%s", a.name, err, got)
		}
		if err := agrees(got); err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		if got != want {
			return fmt.Errorf("%s: got %q, want %q", a.name, got, want)
		}
		return nil
	})
}

// noNotesYet says whether an app could not read because the replica is at a state without database, tables, or notes.
func noNotesYet(out string) bool {
	for _, s := range []string{"unable to open database", "no such table", "NoneType", "no rows in result set"} {
		if strings.Contains(out, s) {
			return true
		}
	}
	return false
}

// agrees checks that what an app has read is one state: every transaction adds one note, and one to the total.
func agrees(out string) error {
	total, authors, _ := strings.Cut(out, "\n")
	sum := 0
	for line := range strings.Lines(authors) {
		fields := strings.Split(line, "|")
		n, err := strconv.Atoi(fields[min(1, len(fields)-1)])
		if err != nil {
			return fmt.Errorf("read %q: %w", out, err)
		}
		sum += n
	}
	if total != strconv.Itoa(sum) && total != "" {
		return fmt.Errorf("a state that was never committed: %s in all, %d counted: %q", total, sum, out)
	}
	return nil
}

// together has all apps write one database at the same time, and read it on the replica meanwhile.
func together(t *testing.T, all []app, primary, replica *node, mode string) {
	const count = 15
	if out, err := all[0].write(primary.db, mode, 0); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	type outcome struct {
		app app
		out string
		err error
	}
	ended := make(chan outcome, len(all))
	for _, a := range all {
		go func() {
			out, err := a.write(primary.db, mode, count)
			ended <- outcome{a, out, err}
		}()
	}
	for running := len(all); running > 0; {
		for _, a := range all {
			out, err := a.read(replica.db)
			if err == nil {
				err = agrees(out)
			} else if noNotesYet(out) {
				err = nil
			}
			if err != nil {
				t.Errorf("%s on the replica: %v\n%s", a.name, err, out)
			}
		}
		for ; len(ended) > 0; running-- {
			if o := <-ended; o.err != nil {
				t.Errorf("%s on the primary: %v\n%s", o.app.name, o.err, o.out)
			}
		}
	}
	want, err := all[0].read(primary.db)
	if err != nil {
		t.Fatalf("%v\n%s", err, want)
	}
	if total, _, _ := strings.Cut(want, "\n"); total != strconv.Itoa(count*len(all)) {
		t.Errorf("on the primary: got %q, want %d in all", want, count*len(all))
	}
	for _, a := range all {
		if !strings.Contains(want+"\n", notesOf(a.name, count)+"\n") {
			t.Errorf("on the primary: got %q, want %s", want, notesOf(a.name, count))
		}
		requireNotes(t, a, replica, replica.db, want)
	}
	awaitEqual(t, primary, replica)
}

// debianPython is the Python that Debian's packages are for.
const debianPython = "/usr/bin/python3"

// betterSQLite3 is the version that is tried: one that Debian's Node can have, too.
const betterSQLite3 = "11.10.0"

// clientPrograms are what the apps run.
type clientPrograms struct {
	modules  string // Node's
	goClient string
}

// buildClients checks what must be installed, and builds the rest. What npm has is built once for a version of Node, and kept
// in the user's cache directory; Go has a cache itself.
func buildClients(t *testing.T) (c clientPrograms) {
	t.Helper()
	for _, check := range [][]string{
		{debianPython, "-c", "import sqlalchemy"},
		{"perl", "-MDBD::SQLite", "-e", "1"},
		{"node", "--version"},
		{"npm", "--version"},
	} {
		if out, err := tryCommand(check...); err != nil {
			t.Fatalf("%q: %v\n%s\nhint: apt-get install python3-sqlalchemy libdbd-sqlite3-perl nodejs npm libnode-dev g++ make", check, err, out)
		}
	}
	c.goClient = filepath.Join(t.TempDir(), "goclient")
	build := command("go", "build", "-o", c.goClient, ".")
	build.Dir = filepath.Join("testdata", "clients", "go")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build in %s: %v\n%s", build.Dir, err, out)
	}
	var err error
	if c.modules, err = nodeModules(mustCommand(t, "node", "--version")); err != nil {
		t.Fatal(err)
	}
	return c
}

// nodeModules returns a directory with better-sqlite3 for this version of Node. What is there is complete: it comes by a
// rename.
func nodeModules(node string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "weir-clients", "better-sqlite3-"+betterSQLite3+"-node-"+node)
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(dir); err == nil {
		return modules, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := buildBetterSQLite3(work); err != nil {
		return "", err
	}
	err = os.Rename(work, dir)
	if _, other := os.Stat(dir); other == nil {
		err = nil // it may be another process that has built it
	}
	return modules, err
}

// buildBetterSQLite3 installs it below work from source. Its own script would fetch a binary, or else Node's headers, from
// elsewhere; the headers are the machine's. The debug build takes a third of the time.
func buildBetterSQLite3(work string) error {
	for _, args := range [][]string{
		{"npm", "install", "--prefix", work, "--ignore-scripts", "--no-audit", "--no-fund", "better-sqlite3@" + betterSQLite3},
		{"npm", "run", "--prefix", filepath.Join(work, "node_modules", "better-sqlite3"), "build-debug"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "npm_config_nodedir=/usr", "MAKEFLAGS=-j2")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s\nhint: apt-get install nodejs npm libnode-dev g++ make, and let npm reach its registry", strings.Join(args, " "), err, out)
		}
	}
	return nil
}
