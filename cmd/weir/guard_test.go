package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The guard of a daemon is by itself, lets go of what is the daemon's, and ends with it, however that ends.
func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*node)
		with bool // it has ended when the daemon has
	}{
		{"stopped", (*node).stop, true},
		{"stopped in use", stopInUse, true},
		{"killed", (*node).kill, false},
		{"crashed", func(n *node) { n.signal(syscall.SIGQUIT); n.exitCode() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newPrimary(t)
			n.startWith("sh", "-c", `exec 9</dev/zero "$0" "$@"`, n.weir, "mount", "-config", n.conf)
			guard := guardOf(n)
			checkGuard(n, guard)
			for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
				if err := unix.Kill(guard, sig); err != nil {
					t.Fatal(err)
				}
			}
			shell(t, n.db, auditSchema)
			if !isGuard(guard) {
				t.Error("a signal has ended it")
			}
			tt.end(n)
			if tt.with && isGuard(guard) {
				t.Error("it is still there after the daemon's end")
			}
			n.eventually("the guard's end", func() error {
				if isGuard(guard) {
					return fmt.Errorf("%d is still there", guard)
				}
				return nil
			})
		})
	}
}

// stopInUse stops a node by two signals while an app has a file open.
func stopInUse(n *node) {
	n.t.Helper()
	app := startBackground(n.t, "hold", n.db, "SELECT n FROM counter")
	app.next()
	n.signal(syscall.SIGTERM)
	n.awaitLog("files are held open")
	n.signal(syscall.SIGTERM)
	n.exitCode()
}

// guardOf returns the process id of a node's guard.
func guardOf(n *node) int {
	n.t.Helper()
	parent := fmt.Appendf(nil, "\nPPid:\t%d\n", n.cmd.Process.Pid)
	all, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		n.t.Fatal(err)
	}
	for _, file := range all {
		status, _ := os.ReadFile(file) // none: it has ended
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if bytes.Contains(status, parent) && isGuard(pid) {
			return pid
		}
	}
	n.t.Fatalf("there is no guard\n%s", n.logged())
	return 0
}

func isGuard(pid int) bool {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // none: it has ended
	return string(line) == "weir\x00"+guardName+"\x00"
}

// checkGuard requires that the guard stands alone.
func checkGuard(n *node, pid int) {
	n.t.Helper()
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || string(comm) != "weir guard\n" {
		n.t.Errorf("got the name %q (%v), want weir guard", comm, err)
	}
	if session, err := unix.Getsid(pid); err != nil || session != pid {
		n.t.Errorf("got session %d (%v), want its own, %d", session, err, pid)
	}
	open, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(open) < 4 {
		n.t.Errorf("got open files %q (%v), want those of its own", open, err)
	}
	for _, file := range append(open, fmt.Sprintf("/proc/%d/cwd", pid)) {
		to, err := os.Readlink(file)
		if err != nil {
			n.t.Errorf("%v, want that it keeps its files open", err)
		}
		if to == "/dev/zero" || to == "/dev/fuse" || strings.HasPrefix(to, n.dir) {
			n.t.Errorf("it has %s, which is the daemon's", to)
		}
	}
}
