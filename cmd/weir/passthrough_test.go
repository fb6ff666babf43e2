package main

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// withoutRights has cmd run in a user namespace of its own: root there may mount, but has no rights outside, as in a
// container without them. The kernel refuses passthrough to such a process.
func withoutRights(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{Size: 1}},
	}
}

// Where the kernel refuses passthrough, weir does without, says so, and all else is the same.
func TestWithoutRights(t *testing.T) {
	t.Setenv("WEIR_PASSTHROUGH", "")
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
	replica := newReplica(t, primary)
	const read = `sqlite3 "$1" "SELECT x FROM t" "INSERT INTO t VALUES (2)"`
	cmd := command(weirBinary, "mount", "-config", replica.conf, "--", "sh", "-c", read, "sh", replica.db)
	withoutRights(cmd)
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"\n1\n", "attempt to write a readonly database", "slower, and as exact, without FUSE passthrough"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got %q (%v), want it to have %q", out, err, want)
		}
	}

	other := newPrimary(t)
	const write = `sqlite3 "$1" "PRAGMA journal_mode=WAL" "CREATE TABLE t (x)" "INSERT INTO t VALUES (3)" "SELECT x FROM t"`
	cmd = command(weirBinary, "mount", "-config", other.conf, "--", "sh", "-c", write, "sh", other.db)
	withoutRights(cmd)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "\n3\n") {
		t.Errorf("got %q (%v), want it to have 3", out, err)
	}
}

// -passthrough on fails where it is not to be had, and changes nothing.
func TestPassthroughOn(t *testing.T) {
	n := newPrimary(t)
	cmd := command(weirBinary, "mount", "-passthrough", "on", "-config", n.conf, "--", "true")
	withoutRights(cmd)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "weir: FUSE passthrough is not available") {
		t.Errorf("got %q (%v), want the error that passthrough is not available", out, err)
	}
}
