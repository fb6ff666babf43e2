package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// user runs commands on a node as a user of the system, with umask 027.
type user struct {
	n        *node
	uid, gid uint32
}

func (u user) run(script string) (string, error) {
	cmd := exec.Command("sh", "-c", "umask 027; cd \"$1\" || exit; "+script, "sh", u.n.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig:  syscall.SIGKILL,
		Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid},
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (u user) must(script string) {
	u.n.t.Helper()
	if out, err := u.run(script); err != nil {
		u.n.t.Errorf("uid %d: %s: %v: %s", u.uid, script, err, out)
	}
}

// not requires that script fails with want.
func (u user) not(script, want string) {
	u.n.t.Helper()
	if out, err := u.run(script); err == nil || !strings.Contains(out, want) {
		u.n.t.Errorf("uid %d: %s: got %v, %q, want %q", u.uid, script, err, out, want)
	}
}

// modes requires owner, group and mode of what is in the node's directory.
func (n *node) modes(want map[string]string) {
	n.t.Helper()
	for name, want := range want {
		fi, err := os.Lstat(n.dir + "/" + name)
		if err != nil {
			n.t.Error(err)
			continue
		}
		st := fi.Sys().(*syscall.Stat_t)
		if got := fmt.Sprintf("%d:%d %s", st.Uid, st.Gid, fi.Mode()); got != want {
			n.t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// Files belong to who makes them, with the mode asked for, and other users are kept from them by the kernel, as without
// weir.
func TestOwners(t *testing.T) {
	primary := newPrimary(t)
	primary.asNobody(command("true"))
	app, other := user{primary, nobody, nobody}, user{primary, 1, 1}
	if err := os.Chown(primary.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	primary.start()
	app.must(`sqlite3 db "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)"`)
	app.must(`echo x >file && mkdir -m 0777 open && mkdir dir && mkfifo fifo && ln -s file link && umask 0 && echo x >all && mkdir all-dir`)
	want := map[string]string{
		"db": "65534:65534 -rw-r-----", "file": "65534:65534 -rw-r-----", "dir": "65534:65534 drwxr-x---", "open": "65534:65534 drwxrwxrwx",
		"fifo": "65534:65534 prw-r-----", "link": "65534:65534 Lrwxrwxrwx", "all": "65534:65534 -rw-rw-rw-", "all-dir": "65534:65534 drwxrwxrwx",
	}
	primary.modes(want)
	const denied = "ermission denied"
	other.not("cat file", denied)
	other.not("echo y >>file", denied)
	other.not("echo y >>link", denied)
	other.not("cat db", denied)
	other.not("ls dir", denied)
	other.not("touch new", denied)
	other.not("rm -f file", denied)
	other.not("mv file moved", denied)
	other.not("chmod 666 file", "Operation not permitted")
	other.not("chown 1 file", "Operation not permitted")
	app.not("chown 1 file", "Operation not permitted")
	other.not(`sqlite3 db "SELECT x FROM t"`, "unable to open database file")
	other.must("cat all && echo y >>all && touch open/mine && test $(stat -c %u open/mine) = 1")
	app.must("chmod 644 db")
	other.not(`sqlite3 db "INSERT INTO t VALUES (2)"`, "attempt to write a readonly database")
	app.must(`sqlite3 db "INSERT INTO t VALUES (3)"`)
	primary.modes(map[string]string{"db": "65534:65534 -rw-r--r--"})

	// In a directory with the set-group-ID bit everything has the directory's group.
	app.must("mkdir -m 0777 shared")
	if err := os.Chown(primary.dir+"/shared", nobody, 2); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(primary.dir+"/shared", 0o777|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	other.must(`cd shared && echo x >file && mkdir dir && mkfifo fifo && ln -s file link && sqlite3 db "CREATE TABLE t (x)"`)
	shared := map[string]string{
		"shared/file": "1:2 -rw-r-----", "shared/dir": "1:2 dgrwxr-x---", "shared/fifo": "1:2 prw-r-----", "shared/link": "1:2 Lrwxrwxrwx",
		"shared/db": "1:2 -rw-r-----",
	}
	primary.modes(shared)
	primary.stop() // what is below the mount is the same
	want["db"] = "65534:65534 -rw-r--r--"
	primary.modes(want)
	primary.modes(shared)
}

// On a replica, too, the directory's and the database's own rights say who reads.
func TestOwnersOfReplica(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	replica := newReplica(t, primary)
	replica.asNobody(command("true"))
	replica.start()
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	app := user{replica, nobody, nobody}
	const read = `sqlite3 db "SELECT n FROM counter"`
	app.must(read)
	app.not("touch new", "Read-only file system")
	replica.stop()
	if err := os.Chmod(replica.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	replica.start()
	awaitEqual(t, primary, replica)
	app.not(read, "can't cd to")
	replica.stop()
	if err := os.Chown(replica.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	replica.start()
	awaitEqual(t, primary, replica)
	app.must(read)
}
