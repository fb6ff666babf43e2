package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/fuse/fusetest"
)

// Apps that open a file while weir is told to end never notice: they get it from the mount, which stays then, or from below.
func TestStopWhileOpened(t *testing.T) {
	n := newPrimary(t)
	shell(t, n.db, auditSchema)
	for range 5 {
		n.start()
		const read = `echo begun; for i in $(seq 20); do { sleep 0.05; cat; } <"$1" >/dev/null || echo failed; done; read end; true`
		app := startBackground(t, "sh", "-c", read, "sh", n.db)
		app.next()
		n.stop()
		if rest := app.finish(); len(rest) > 0 || app.errs.String() != "" {
			t.Errorf("got %q, %s", rest, &app.errs)
		}
	}
}

// A working directory in the mount keeps it as an open file does.
func TestStopWithWorkingDirectory(t *testing.T) {
	n := newPrimary(t)
	n.start()
	app := startBackground(t, "sh", "-c", `cd "$1" && echo there; read end; true`, "sh", n.dir)
	app.next()
	n.signal(syscall.SIGTERM)
	n.awaitLog(fmt.Sprintf("(pid %d)", app.cmd.Process.Pid))
	if !isMounted(n.dir) {
		t.Error("the mount is gone")
	}
	app.finish()
	if code := n.exitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, n.logged())
	}
}

// Apps that wait for a dead mount to go, and then keep the file open for a moment, wherever they got it from, do not keep
// weir from its start.
func TestOpenedInBetween(t *testing.T) {
	const await = `import os, sys, time
print("begun", flush=True)
while True:
    try:
        fd = os.open(sys.argv[1], os.O_RDONLY)
        break
    except OSError:
        pass
print("on device", os.fstat(fd).st_dev, flush=True)
time.sleep(1)`
	n := newPrimary(t)
	shell(t, n.db, auditSchema)
	n.start()
	n.kill()
	var apps []*background
	for range 3 {
		app := startBackground(t, "python3", "-c", await, n.db)
		app.next()
		apps = append(apps, app)
	}
	n.start()
	for _, app := range apps {
		t.Logf("%s, below is %d", app.next(), device(t, filepath.Dir(n.dir)))
		app.finish()
	}
	shell(t, n.db, auditStep)
	n.stop()
}

// What killed apps have left is rolled back when weir has started, before anybody opens the databases.
func TestHotJournals(t *testing.T) {
	const kill = `import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("CREATE TABLE t (a)")
c.execute("INSERT INTO t VALUES (randomblob(1000000))")
c.execute("PRAGMA cache_size = 10")
c.execute("BEGIN")
c.execute("UPDATE t SET a = randomblob(2000000)")
os.kill(os.getpid(), 9)`
	for name, configure := range map[string]func(*node){"database": (*node).lead, "directory": func(n *node) { n.leadAll("") }} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, "primary")
			n.db = filepath.Join(n.dir, "a.db")
			configure(n)
			tryCommand("python3", "-c", kill, n.db) // it is killed
			if _, err := os.Stat(n.db + "-journal"); err != nil {
				t.Fatalf("there is no journal: %v", err)
			}
			n.start()
			if _, err := os.Stat(n.db + "-journal"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the journal: got %v, want none", err)
			}
			if got := shell(t, n.db, "PRAGMA integrity_check; SELECT length(a) FROM t"); got != "ok\n1000000" {
				t.Errorf("got %q, want what was before", got)
			}
			replica := newNode(t, "replica")
			replica.db = filepath.Join(replica.dir, "a.db")
			replica.follow(n)
			replica.start()
			shell(t, n.db, "UPDATE t SET a = randomblob(3000)")
			awaitEqual(t, n, replica)
		})
	}
}

// A file that another user has open, whose processes weir does not see, keeps the mount as any other does.
func TestHeldByUnseen(t *testing.T) {
	n := usersNode(t, "primary")
	n.lead()
	machine := fusetest.UsualUser
	machine.AllowOther = true
	n.startWith(commandAs(t, machine, weirBinary, "mount", "-config", n.conf).Args...)
	inside := func(uid int, args ...string) []string {
		user := []string{"nsenter", "--mount", "--target", fmt.Sprint(n.cmd.Process.Pid), "setpriv", "--reuid", fmt.Sprint(uid), "--regid", fmt.Sprint(uid), "--clear-groups"}
		return append(user, args...)
	}
	mustCommand(t, inside(nobody, "sqlite3", n.db, auditSchema)...)
	holder := startBackground(t, inside(1, "sh", "-c", `exec 3<"$1"; echo open; read end; true`, "sh", n.db)...)
	holder.next()
	n.signal(syscall.SIGTERM)
	n.awaitLog("files are held open")
	if text := n.logged(); !strings.Contains(text, "a process that can't be seen from here") {
		t.Errorf("got %s, want that the process can't be seen", text)
	}
	time.Sleep(3 * busyRetry)
	if n.hasEnded() {
		t.Fatal("weir ended although a file is open")
	}
	mustCommand(t, inside(nobody, "sqlite3", n.db, auditStep)...) // the mount works as before
	holder.finish()
	if code := n.exitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, n.logged())
	}
}
