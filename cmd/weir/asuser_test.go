package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asUserVar in the environment makes the test binary run its tests as a user without rights, who mounts through
// fusermount3. Its value is the weir to test.
const asUserVar = "WEIR_TEST_AS_USER"

// asUser tells whether that is so.
func asUser() bool { return os.Getenv(asUserVar) != "" }

// userMachine is what decides whether, and how, fusermount3 mounts for a user.
type userMachine struct {
	device      os.FileMode // of /dev/fuse; 0: there is none
	allowOther  bool        // /etc/fuse.conf has user_allow_other
	fusermount3 string      // another file in its place
	noNewPrivs  bool
	uid         int
}

// usual is as udev and fuse3 have it.
var usual = userMachine{device: 0o666, uid: nobody}

// command runs args as the user on the machine, in a mount namespace of its own.
func (u userMachine) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	base := t.TempDir()
	device, conf := filepath.Join(base, "fuse"), filepath.Join(base, "fuse.conf")
	script := `mount --bind "$2" /etc/fuse.conf && mount -t fusectl none /sys/fs/fuse/connections`
	if u.device != 0 {
		script += ` && mount --bind "$1" /dev/fuse`
		if err := errors.Join(unix.Mknod(device, unix.S_IFCHR, int(unix.Mkdev(10, 229))), os.Chmod(device, u.device)); err != nil { // Linux's devices.txt
			t.Fatal(err)
		}
	} else {
		script += ` && mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3`
	}
	if u.fusermount3 != "" {
		script += fmt.Sprintf(` && mount --bind %s "$(command -v fusermount3)"`, u.fusermount3)
	}
	script += fmt.Sprintf(` && shift 2 && exec setpriv --reuid %d --regid %[1]d --clear-groups`, u.uid)
	if u.noNewPrivs {
		script += " --no-new-privs"
	}
	line := "#user_allow_other\n"
	if u.allowOther {
		line = line[1:]
	}
	if err := os.WriteFile(conf, []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command(append([]string{"unshare", "--mount", "sh", "-c", script + ` "$@"`, "sh", device, conf}, args...)...)
	cmd.Env = append(os.Environ(), "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/")
	return cmd
}

// asUserTests are those that need no rights but weir's.
var asUserTests = []string{
	"TestCommand", "TestCommandOnReplica", "TestSignalUnmounts", "TestUnmountWaitsForOpenFiles", "TestSecondSignalUnmountsLazily",
	"TestStaleMountIsReplaced", "TestTwoWeirs", "TestSignalUnderLoad", "TestReplicaIsReadOnly", "TestClientsOnReplica", "TestEmptyReplica",
	"TestExistingDatabase", "TestReaderSeesCommittedStates", "TestLongReader", "TestRestart", "TestDirectory", "TestDirectoryRecursive",
	"TestDirectoryRestart", "TestDirectoryRename", "TestKilledUnderLoad", "TestStoppedUnderLoad", "TestVirtualFiles", "TestVerify",
	"TestSnapshotCommand", "TestConfigCheck", "TestStatusSays", "TestGuard",
}

// The same tests by a user without rights.
func TestAsUser(t *testing.T) {
	for name, machine := range map[string]userMachine{"alone": usual, "all": {device: 0o666, uid: nobody, allowOther: true}} {
		t.Run(name, func(t *testing.T) {
			base, err := os.MkdirTemp("", "user")
			if err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(base, "weir.test")
			if err := errors.Join(copyProgram(binary, "/proc/self/exe"), os.Mkdir(base+"/tmp", 0o755), os.Chown(base+"/tmp", nobody, nobody), os.Chmod(base, 0o755)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(base) })
			tests := asUserTests
			if name == "all" { // and with passthrough=auto
				tests = []string{"TestCommand"}
			} else {
				t.Setenv("WEIR_PASSTHROUGH", "off")
			}
			cmd := machine.command(t, binary, "-test.run", "^("+strings.Join(tests, "|")+")$", "-test.v", "-test.timeout", "9m")
			cmd.Env = append(cmd.Env, "TMPDIR="+base+"/tmp", asUserVar+"="+weirBinary)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if got := strings.Count(string(out), "\n--- PASS: "); got != len(tests) && err == nil {
				t.Errorf("got %d tests that have passed, want %d:\n%s", got, len(tests), out)
			}
		})
	}
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
