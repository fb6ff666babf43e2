package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/fuse/fusetest"
)

// usersNode is a node whose directory belongs to a user without rights.
func usersNode(t *testing.T, name string) *node {
	t.Helper()
	n := newNode(t, name)
	n.asNobody(command("true"))
	if err := os.Chown(n.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return n
}

// notThere stands for no fusermount3: it can't be executed.
const notThere = "/dev/null"

// A user without rights is told what is missing, and what to do; and the other way works.
func TestWithoutRoot(t *testing.T) {
	n := usersNode(t, "primary")
	bare := fusetest.UsualUser
	bare.Fusermount = notThere
	mount := []string{weirBinary, "mount", "-addr", "", n.db, "--", "sqlite3", n.db, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (42); SELECT x FROM t"}
	out, err := commandAs(t, bare, mount...).CombinedOutput()
	for _, want := range []string{"this process may not mount: it lacks CAP_SYS_ADMIN", "there is no fusermount3 on the PATH", "hint: install fuse3", "run weir as root"} {
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
	out, err = commandAs(t, bare, append(advice, mount...)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\n42\n") {
		t.Errorf("got %v, %s, want 42", err, out)
	}
	// It is a database of the user's, outside too.
	n.modes(map[string]string{"db": fmt.Sprintf("%d:%d -rw-r--r--", nobody, nobody)})
	if got := mustCommand(t, "sqlite3", n.db, "SELECT x FROM t"); got != "42" {
		t.Errorf("got %q, want 42", got)
	}
}

// What keeps a user's weir from mounting is named, with what to do about it.
func TestWhyNotMounted(t *testing.T) {
	powerless := filepath.Join(t.TempDir(), "fusermount3")
	for dir := filepath.Dir(powerless); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	where, err := exec.LookPath("fusermount3")
	if err := errors.Join(err, fusetest.CopyProgram(powerless, where)); err != nil {
		t.Fatal(err)
	}
	// changed is the directory when it is made, with .weir in it for the user.
	changed := func(uid int, mode os.FileMode) func(dir string) error {
		return func(dir string) error {
			own := filepath.Join(dir, ".weir")
			return errors.Join(os.Mkdir(own, 0o700), os.Chown(own, nobody, nobody), os.Chown(dir, uid, uid), os.Chmod(dir, mode))
		}
	}
	with := func(change func(*fusetest.User)) fusetest.User {
		u := fusetest.UsualUser
		change(&u)
		return u
	}
	for name, tt := range map[string]struct {
		machine fusetest.User
		dir     func(dir string) error
		args    []string
		want    []string
	}{
		"no device": {machine: with(func(u *fusetest.User) { u.Device = 0 }), want: []string{"fusermount3 has refused", "modprobe fuse", "--device /dev/fuse"}},
		"device of root's": {machine: with(func(u *fusetest.User) { u.Device = 0o600 }),
			want: []string{"fusermount3 has refused: failed to open /dev/fuse: Permission denied", "chmod 666 /dev/fuse"}},
		"not setuid": {machine: with(func(u *fusetest.User) { u.Fusermount = powerless }),
			want: []string{"fusermount3 has refused: mount failed: Operation not permitted", where + " is not setuid root", "chmod u+s " + where}},
		"no_new_privs": {machine: with(func(u *fusetest.User) { u.NoNewPrivs = true }), want: []string{"Operation not permitted", "no_new_privs", "NoNewPrivileges=no"}},
		"no name":      {machine: with(func(u *fusetest.User) { u.UID = 471147 }), dir: func(dir string) error { return os.Chown(dir, 471147, 471147) }, want: []string{"could not determine username", "/etc/passwd"}},
		"not writable": {dir: changed(nobody, 0o555), want: []string{"user has no write access to mountpoint", "give the directory to the user that weir runs as"}},
		"sticky":       {dir: changed(1, 0o777|os.ModeSticky), want: []string{"not owned by user", "only its owner may mount"}},
		"of another":   {dir: func(dir string) error { return os.Chown(dir, 1, 1) }, want: []string{"permission denied", "hint: run weir as root, or give the directory to the user that weir runs as"}},
		"passthrough":  {args: []string{"-passthrough", "on"}, want: []string{"FUSE passthrough is not available: it needs Linux 6.9 or newer and CAP_SYS_ADMIN", "fusermount3 mounts without"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := usersNode(t, "primary")
			if tt.machine == (fusetest.User{}) {
				tt.machine = fusetest.UsualUser
			}
			if tt.dir != nil {
				if err := tt.dir(n.dir); err != nil {
					t.Fatal(err)
				}
			}
			args := append(append([]string{weirBinary, "mount", "-addr", ""}, tt.args...), n.db, "--", "true")
			out, err := commandAs(t, tt.machine, args...).CombinedOutput()
			if code := exitCodeOf(err); code != 1 {
				t.Errorf("got exit code %d, want 1\n%s", code, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("got %q, want it to have %q", out, want)
				}
			}
		})
	}
}

// Other users than weir's see its mounts where the system allows that, and nobody else does, where weir says so.
func TestMountOfUserForOthers(t *testing.T) {
	const alone = "only this user sees the mounts"
	for _, all := range []bool{true, false} {
		t.Run(fmt.Sprint(all), func(t *testing.T) {
			n := usersNode(t, "primary")
			n.lead()
			machine := fusetest.UsualUser
			machine.AllowOther = all
			n.startWith(commandAs(t, machine, weirBinary, "mount", "-config", n.conf).Args...)
			if got := strings.Contains(n.logged(), alone); got == all {
				t.Errorf("got a log that says that %s: %v, want %v\n%s", alone, got, !all, n.logged())
			}
			if !all && !strings.Contains(n.logged(), "user_allow_other to /etc/fuse.conf") {
				t.Errorf("got a log that does not say what to do:\n%s", n.logged())
			}
			inside := func(uid int, args ...string) (string, error) {
				return tryCommand(append([]string{"nsenter", "--mount", "--target", fmt.Sprint(n.cmd.Process.Pid), "setpriv", "--reuid", fmt.Sprint(uid), "--regid", fmt.Sprint(uid), "--clear-groups"}, args...)...)
			}
			if out, err := inside(nobody, "sqlite3", n.db, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (42)"); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, uid := range []int{0, 1} {
				out, err := inside(uid, "sqlite3", "-readonly", n.db, "SELECT x FROM t")
				if (out == "42" && err == nil) != all {
					t.Errorf("user %d got %q, %v, want that it sees the database: %v", uid, out, err, all)
				}
			}
			n.stop()
		})
	}
}

func TestRightsHint(t *testing.T) {
	for _, tt := range []struct {
		r    rights
		want string
	}{
		{rights{root: true, namespaces: true}, "--cap-add SYS_ADMIN"},
		{rights{namespaces: true}, "unshare --user"},
		{rights{}, "install fuse3"},
	} {
		if got := tt.r.hint(); !strings.Contains(got, tt.want) {
			t.Errorf("%+v: got %q, want %q", tt.r, got, tt.want)
		}
	}
}
