package fusetest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// asUserVar in the environment makes a test binary run its tests as a user without rights. The value is what it needs of
// the one that has started it.
const asUserVar = "WEIR_TEST_AS_USER"

// AsUser tells whether this is a test binary that [User.RunTests] has started, and what with.
func AsUser() (with string, is bool) { return os.LookupEnv(asUserVar) }

// Nobody is a user without rights, and a group.
const Nobody = 65534

// User is a user without rights, and what on the machine decides whether fusermount3 mounts for it, and how.
type User struct {
	UID        int
	Device     os.FileMode // of /dev/fuse; 0: there is none
	AllowOther bool        // /etc/fuse.conf has user_allow_other
	Fusermount string      // another file in the place of fusermount3
	NoNewPrivs bool        // setuid programs give no rights
}

// UsualUser is on a machine that has udev and fuse3.
var UsualUser = User{UID: Nobody, Device: 0o666}

// Args are those of a command that runs args as the user, in a mount namespace of its own. Its files are made in base.
func (u User) Args(base string, args ...string) ([]string, error) {
	device, conf := filepath.Join(base, "fuse"), filepath.Join(base, "fuse.conf")
	line := "#user_allow_other\n"
	if u.AllowOther {
		line = line[1:]
	}
	err := os.WriteFile(conf, []byte(line), 0o644)
	script := []string{`mount --bind "$2" /etc/fuse.conf`, "mount -t fusectl none /sys/fs/fuse/connections"}
	if u.Device != 0 {
		err = errors.Join(err, unix.Mknod(device, unix.S_IFCHR, int(unix.Mkdev(10, 229))), os.Chmod(device, u.Device)) // Linux's devices.txt
		script = append(script, `mount --bind "$1" /dev/fuse`)
	} else {
		script = append(script, "mount -t tmpfs none /dev", "mknod -m 666 /dev/null c 1 3")
	}
	if u.Fusermount != "" {
		script = append(script, fmt.Sprintf(`mount --bind %s "$(command -v fusermount3)"`, u.Fusermount))
	}
	become := fmt.Sprintf("exec setpriv --reuid %d --regid %[1]d --clear-groups", u.UID)
	if u.NoNewPrivs {
		become += " --no-new-privs"
	}
	script = append(script, "shift 2", become+` "$@"`)
	return append([]string{"unshare", "--mount", "sh", "-c", strings.Join(script, " && "), "sh", device, conf}, args...), err
}

// Env is the environment of such a command.
func (User) Env() []string {
	return append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/")
}

// RunTests runs this test binary's tests of these names as the user, and returns what it prints. An error is that of a
// test, or that not all of them are there. With is for [AsUser], and base a directory that is not used yet.
func (u User) RunTests(base, with string, names []string, args ...string) (out string, err error) {
	binary, tmp := filepath.Join(base, "test"), filepath.Join(base, "tmp")
	if err := errors.Join(u.enter(base), CopyProgram(binary, "/proc/self/exe"), os.Mkdir(tmp, 0o755), os.Chown(tmp, u.UID, u.UID)); err != nil {
		return "", err
	}
	run := append([]string{binary, "-test.v", "-test.timeout=9m", "-test.run=^(" + strings.Join(names, "|") + ")$"}, args...)
	line, err := u.Args(base, run...)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(u.Env(), "TMPDIR="+tmp, asUserVar+"="+with)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var printed []byte
	err = onLastingThread(func() (err error) {
		printed, err = cmd.CombinedOutput()
		return err
	})
	out = string(printed)
	if got := strings.Count(out, "\n--- PASS: ") + strings.Count(out, "\n--- SKIP: "); err == nil && got != len(names) {
		err = fmt.Errorf("got %d tests that were run, want %d", got, len(names))
	}
	return out, err
}

// enter lets the user get to base, which is below the directory for temporary files.
func (u User) enter(base string) (err error) {
	for dir := base; dir != filepath.Dir(os.TempDir()); dir = filepath.Dir(dir) {
		err = errors.Join(err, os.Chmod(dir, 0o755))
	}
	return err
}

// CopyProgram copies a program without its rights.
func CopyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
