package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// plain returns a command that a user without rights runs, who may open /dev/fuse as users may where udev is in charge.
func (n *node) plain(args ...string) *exec.Cmd {
	n.t.Helper()
	n.asNobody(command("true"))
	if err := os.Chown(n.dir, nobody, nobody); err != nil {
		n.t.Fatal(err)
	}
	device := filepath.Join(n.work, "fuse")
	if err := unix.Mknod(device, unix.S_IFCHR, int(unix.Mkdev(10, 229))); err != nil { // Linux's devices.txt
		n.t.Fatal(err)
	}
	if err := os.Chmod(device, 0o666); err != nil {
		n.t.Fatal(err)
	}
	const script = `mount --bind "$1" /dev/fuse; shift; exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`
	return command(append([]string{"unshare", "--mount", "sh", "-c", script, "sh", device}, args...)...)
}

// A user without rights is told what is missing, and what to do; and what to do works.
func TestWithoutRoot(t *testing.T) {
	n := newNode(t, "primary")
	mount := []string{weirBinary, "mount", "-addr", "", n.db, "--", "sqlite3", n.db, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (42); SELECT x FROM t"}
	out, err := n.plain(mount...).CombinedOutput()
	for _, want := range []string{"this process may not mount: it lacks CAP_SYS_ADMIN", "hint: run weir as root"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("got %v, %s, want it to have %q", err, out, want)
		}
	}
	if strings.Contains(string(out), "\n42\n") {
		t.Errorf("the command was started: %s", out)
	}
	advice := []string{"unshare", "--user", "--map-root-user", "--mount"}
	if got := strings.Contains(string(out), strings.Join(advice, " ")+" weir mount"); got != rightsOf().namespaces {
		t.Errorf("got %s, want advice to unshare: %v", out, !got)
	}
	if !rightsOf().namespaces {
		return
	}
	if err := os.Remove(filepath.Join(n.work, "fuse")); err != nil {
		t.Fatal(err)
	}
	out, err = n.plain(append(advice, mount...)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\n42\n") {
		t.Errorf("got %v, %s, want 42", err, out)
	}
	// It is a database of the user's, outside too.
	n.modes(map[string]string{"db": fmt.Sprintf("%d:%d -rw-r--r--", nobody, nobody)})
	if got := mustCommand(t, "sqlite3", n.db, "SELECT x FROM t"); got != "42" {
		t.Errorf("got %q, want 42", got)
	}
}

// Where the device or the directory is not the user's, that is what is said.
func TestNotTheUsers(t *testing.T) {
	n := newNode(t, "primary")
	cmd := n.plain(weirBinary, "mount", "-addr", "", n.db)
	if err := os.Chmod(filepath.Join(n.work, "fuse"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if want := "open /dev/fuse: permission denied: user 65534 may not open the device; as root, give it to all users"; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("got %v, %s, want %q", err, out, want)
	}
	if err := os.Remove(filepath.Join(n.work, "fuse")); err != nil {
		t.Fatal(err)
	}
	cmd = n.plain(weirBinary, "mount", "-addr", "", n.db)
	if err := os.Chown(n.dir, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(n.dir, ".weir")); err != nil {
		t.Fatal(err)
	}
	out, err = cmd.CombinedOutput()
	for _, want := range []string{"weir: " + n.dir + ": ", "permission denied", "hint: run weir as root, or give the directory to the user that weir runs as"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("got %v, %s, want %q", err, out, want)
		}
	}
}

func TestRightsHint(t *testing.T) {
	for _, tt := range []struct {
		r    rights
		want string
	}{
		{rights{root: true, namespaces: true}, "--cap-add SYS_ADMIN"},
		{rights{namespaces: true}, "unshare --user"},
		{rights{}, "users may not make user namespaces"},
	} {
		if got := tt.r.hint(); !strings.Contains(got, tt.want) {
			t.Errorf("%+v: got %q, want %q", tt.r, got, tt.want)
		}
	}
}
