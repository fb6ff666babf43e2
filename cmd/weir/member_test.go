package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// databaseImage makes a database elsewhere, and returns its bytes.
func databaseImage(t *testing.T, steps int) []byte {
	t.Helper()
	db := filepath.Join(t.TempDir(), "db")
	shell(t, db, auditSchema+strings.Repeat(auditStep, steps))
	data, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A file that is given a name that matches is a database from then on, also by what is written to it by who opened it before;
// one that is given another name is none any more.
func TestDirectoryRename(t *testing.T) {
	primary, replica := startDirectories(t, "")
	in := func(name string) string { return filepath.Join(primary.dir, name) }
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(in(from), in(to)); err != nil {
			t.Fatal(err)
		}
	}
	// As programs replace a file: the database is whole when it gets its name.
	if err := os.WriteFile(in("x.tmp"), databaseImage(t, 3), 0o644); err != nil {
		t.Fatal(err)
	}
	rename("x.tmp", "x.db")
	awaitEqual(t, primary.of("x.db"), replica.of("x.db"))
	if err := os.WriteFile(in("x.tmp"), databaseImage(t, 5), 0o644); err != nil {
		t.Fatal(err)
	}
	before := snapshots(replica)
	rename("x.tmp", "x.db")
	awaitEqual(t, primary.of("x.db"), replica.of("x.db"))
	if got := snapshots(replica); got != before {
		t.Errorf("got %d snapshots, want %d: a database that is replaced is the same to replicas", got, before)
	}
	rename("x.db", "y.db")
	replica.awaitGone("x.db")
	awaitEqual(t, primary.of("y.db"), replica.of("y.db"))
	rename("y.db", "y.off")
	replica.awaitGone("y.db")
	shell(t, in("y.off"), auditStep)
	rename("y.off", "y.db")
	awaitEqual(t, primary.of("y.db"), replica.of("y.db"))
	shell(t, in("z.db"), auditSchema+auditStep+auditStep)
	awaitEqual(t, primary.of("z.db"), replica.of("z.db"))
	rename("z.db", "y.db") // one over another
	replica.awaitGone("z.db")
	awaitEqual(t, primary.of("y.db"), replica.of("y.db"))
	shell(t, in("y.db"), auditStep)
	awaitEqual(t, primary.of("y.db"), replica.of("y.db"))
	for _, link := range [][2]string{{"y.db", "other"}, {"y.db", "w.db"}, {"other", "w.db"}} {
		if err := os.Link(in(link[0]), in(link[1])); link[0] != "other" && !errors.Is(err, syscall.EPERM) {
			t.Errorf("link %s to %s: got %v, want %v", link[0], link[1], err, syscall.EPERM)
		}
	}
	replica.requireWell()
	primary.requireWell()
}

// What is written by a file that was opened under another name is captured as the database's that it is then.
func TestDirectoryRenameWhileOpen(t *testing.T) {
	primary, replica := startDirectories(t, "")
	in := func(name string) string { return filepath.Join(primary.dir, name) }
	whole := databaseImage(t, 10)
	f, err := os.Create(in("x.tmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	half := len(whole) / 2
	if _, err := f.Write(whole[:half]); err != nil {
		t.Fatal(err)
	}
	last := "x.tmp"
	for _, name := range []string{"x.db", "y.db", "y.off", "z.db"} {
		if err := os.Rename(in(last), in(name)); err != nil {
			t.Fatal(err)
		}
		last = name
		if _, err := f.WriteAt(whole[half:half+100], int64(half)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteAt(whole[half:], int64(half)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	awaitEqual(t, primary.of("z.db"), replica.of("z.db"))
	// SQLite's own connection, whose database is moved away under it, where others write to it, and back again.
	mustCommand(t, "python3", "-c", `
import os, sqlite3, sys
dir = sys.argv[1] + "/"
insert = "INSERT INTO item (v, filler) VALUES (0, randomblob(20000))"
db = sqlite3.connect(dir + "z.db", isolation_level=None)
for name in ["a.db", "b.off", "c.db"]:
    db.execute(insert)
    os.rename(dir + "z.db", dir + name)
    other = sqlite3.connect(dir + name, isolation_level=None)
    other.execute(insert)
    try:
        db.execute(insert)
        sys.exit("SQLite writes to a database that was moved")
    except sqlite3.OperationalError:
        pass
    os.rename(dir + name, dir + "z.db")
    db.execute(insert)
`, primary.dir)
	awaitEqual(t, primary.of("z.db"), replica.of("z.db"))
	for _, name := range []string{"x.db", "y.db", "a.db", "c.db"} {
		replica.awaitGone(name)
	}
	replica.requireWell()
	primary.requireWell()
}

// Pages that are written while the database gets one name after another are captured, all of them.
func TestDirectoryRenameUnderWrites(t *testing.T) {
	primary, replica := startDirectories(t, "")
	in := func(name string) string { return filepath.Join(primary.dir, name) }
	const pageSize, pages = 4096, 200
	shell(t, in("x.db"), fmt.Sprintf("CREATE TABLE t AS SELECT zeroblob(%d) AS a", pages*pageSize))
	f, err := os.OpenFile(in("x.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stop, written := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			// In the middle of the blob, of which a page begins with the number of the next.
			_, err := f.WriteAt(fmt.Appendf(nil, "%08d", n), int64(10+n%(pages-20))*pageSize+100)
			select {
			case <-stop:
				written <- err
				return
			default:
			}
			if err != nil {
				written <- err
				return
			}
		}
	}()
	names := []string{"x.db", "y.db", "z.off"}
	for i := range 300 {
		if err := os.Rename(in(names[i%3]), in(names[(i+1)%3])); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := errors.Join(<-written, f.Close()); err != nil {
		t.Fatal(err)
	}
	awaitEqual(t, primary.of("x.db"), replica.of("x.db"))
	replica.awaitGone("y.db")
	if out, err := tryCommand(weirBinary, "verify", "-db", filepath.Join(replica.dir, "x.db")); err != nil {
		t.Errorf("weir verify: %v: %s", err, out)
	}
}

// A WAL, wal-index and journal that a database left, whose file alone was removed, are nothing to the next of that name, as
// they are to SQLite.
func TestDirectoryStaleWAL(t *testing.T) {
	primary, replica := startDirectories(t, "")
	db := filepath.Join(primary.dir, "x.db")
	for i := range 3 {
		mustCommand(t, "python3", "-c", `
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE t AS SELECT randomblob(50000) AS a")
db.commit()
os._exit(0) # leaves the WAL
`, db)
		replica.eventually("x.db", func() error {
			_, err := os.Stat(filepath.Join(replica.dir, "x.db"))
			return err
		})
		if err := os.Remove(db); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(db + "-wal"); err != nil {
			t.Fatalf("the WAL: %v", err)
		}
		if i == 1 {
			replica.awaitGone("x.db")
		}
		if err := os.WriteFile(db, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if pos := readFile(t, db+"-pos"); !strings.HasSuffix(pos, "/8000000000000000") { // it captures what there is
			t.Errorf("got position %s of an empty database", pos)
		}
		if i == 2 { // and where weir did not run meanwhile
			primary.stop()
			primary.start()
		}
		shell(t, db, auditSchema+auditStep)
		awaitEqual(t, primary.of("x.db"), replica.of("x.db"))
		if out, err := tryCommand(weirBinary, "verify", "-db", filepath.Join(replica.dir, "x.db")); err != nil {
			t.Fatalf("weir verify: %v: %s", err, out)
		}
		removeDatabase(t, db)
		replica.awaitGone("x.db")
	}
}

// A file that matches and is no database passes through until it is one: cut to nothing and written, or overwritten.
func TestDirectoryNotSQLite(t *testing.T) {
	primary, replica := startDirectories(t, "")
	text := bytes.Repeat([]byte("this is no database\n"), 1000)
	names := []string{"cut.db", "over.db", "stays.db"}
	before := filepath.Join(primary.dir, "over.db")
	primary.stop()
	if err := os.WriteFile(before, text, 0o644); err != nil { // there before weir
		t.Fatal(err)
	}
	primary.start()
	for _, name := range names {
		path := filepath.Join(primary.dir, name)
		if name != "over.db" {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: got %d bytes, %v, want the %d that were written", name, len(got), err, len(text))
		}
	}
	primary.requireWell()
	if err := os.WriteFile(filepath.Join(primary.dir, "empty.db"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	shell(t, filepath.Join(primary.dir, "good.db"), auditSchema)
	awaitEqual(t, primary.of("good.db"), replica.of("good.db"))
	for _, name := range append(names, "empty.db") {
		isAway(t, filepath.Join(replica.dir, name))
	}
	replica.requireWell()
	image := databaseImage(t, 4)
	if err := os.WriteFile(filepath.Join(primary.dir, "cut.db"), image, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(primary.dir, "over.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := 0; at < len(image); at += 1000 { // its header is there long before its end
		if _, err := f.WriteAt(image[at:min(at+1000, len(image))], int64(at)); err != nil {
			t.Fatal(err)
		}
		if at == len(image)/2000*1000 { // others may look at it
			readFile(t, f.Name())
		}
	}
	isAway(t, f.Name()+"-pos") // as a database has it
	isAway(t, filepath.Join(replica.dir, "over.db"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	shell(t, filepath.Join(primary.dir, "empty.db"), auditSchema)
	for _, name := range []string{"cut.db", "over.db", "empty.db"} {
		awaitEqual(t, primary.of(name), replica.of(name))
		shell(t, filepath.Join(primary.dir, name), "PRAGMA journal_mode = WAL; CREATE TABLE more AS SELECT 1 AS a")
		awaitEqual(t, primary.of(name), replica.of(name))
	}
	isAway(t, filepath.Join(replica.dir, "stays.db"))
}

// Many databases come and go at once, by several apps, and the replica has those that are left.
func TestDirectoryManyApps(t *testing.T) {
	primary, replica := startDirectories(t, "    recursive: true\n")
	const apps = 4
	errs := make(chan error, apps)
	for app := range apps {
		go func() { errs <- manyDatabases(filepath.Join(primary.dir, fmt.Sprint("app", app))) }()
	}
	for range apps {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for app := range apps {
		name := filepath.Join(fmt.Sprint("app", app), "last.db")
		awaitEqual(t, primary.of(name), replica.of(name))
		for i := range 3 {
			replica.awaitGone(filepath.Join(fmt.Sprint("app", app), fmt.Sprintf("%d.db", i)))
		}
	}
	primary.requireWell()
	replica.requireWell()
}

// manyDatabases makes databases in a directory, removes them, and puts each in the place of last.db.
func manyDatabases(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i := range 6 {
		db := filepath.Join(dir, fmt.Sprintf("%d.db", i%3))
		for _, mode := range []string{"DELETE", "WAL"} {
			out, err := tryShell(db, "PRAGMA journal_mode = "+mode+";"+auditSchema+auditStep)
			if err != nil {
				return fmt.Errorf("%s: %w: %s", db, err, out)
			}
			if mode == "WAL" {
				break
			}
			if err := os.Remove(db); err != nil {
				return err
			}
		}
		if err := os.Rename(db, filepath.Join(dir, "last.db")); err != nil {
			return err
		}
	}
	return nil
}

// TestDirectoryNoDatabase makes files whose names match and that are none: each is said once, as no error, and is replicated
// from when it is one.
func TestDirectoryNoDatabase(t *testing.T) {
	primary, replica := startDirectories(t, "")
	image := databaseImage(t, 3)
	for name, write := range map[string][]byte{"short.db": []byte("x"), "long.db": bytes.Repeat([]byte("no header "), 1000)} {
		path := filepath.Join(primary.dir, name)
		for range 3 {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(write); err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		said := regexp.MustCompile(`level=WARN msg="the file is no SQLite database, [^"]*give it another name" db=` + regexp.QuoteMeta(path))
		if all := said.FindAllString(primary.logged(), -1); len(all) != 1 {
			t.Errorf("%s: got %q in the log, want that it is no database, once", name, all)
		}
	}
	if log := primary.logged(); strings.Contains(log, "level=ERROR") {
		t.Errorf("got an error in the log\n%s", log)
	}
	primary.requireWell()
	if err := os.WriteFile(filepath.Join(primary.dir, "short.db"), image, 0o644); err != nil {
		t.Fatal(err)
	}
	awaitEqual(t, primary.of("short.db"), replica.of("short.db"))
	isAway(t, filepath.Join(replica.dir, "long.db"))
}
