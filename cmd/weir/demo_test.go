package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The demo as a user runs it, shortened.
func TestDemo(t *testing.T) {
	out := mustCommand(t, weirBinary, "demo", "-for", "200ms")
	for _, want := range []string{
		`ok mounted the primary`,
		`ok mounted the replica`,
		`DELETE +[0-9]+ +[0-9.]+ ms`,
		`TRUNCATE +[0-9]+ +[0-9.]+ ms`,
		`PERSIST +[0-9]+ +[0-9.]+ ms`,
		`WAL +[0-9]+ +[0-9.]+ ms`,
		`attempt to write a readonly database`,
		`read-only file system`,
		`integrity_check says ok on both, and all [0-9]+ pages are the same`,
		`nothing is left`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("got\n%s\nwant it to match %s", out, want)
		}
	}
	requireNoDemo(t, out)
}

// ctrl-C cleans up, at whatever moment it comes.
func TestDemoInterrupted(t *testing.T) {
	for _, after := range []time.Duration{0, 100 * time.Millisecond, time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			cmd, out := startDemo(t, "-for", "10s")
			n := &node{t: t, name: "demo"}
			n.eventually("the first line", func() error {
				if out.String() == "" {
					return os.ErrNotExist
				}
				return nil
			})
			time.Sleep(after)
			cmd.Process.Signal(syscall.SIGINT)
			cmd.Wait() // how it ends is judged below
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("got exit code %d, want 130\n%s", code, out)
			}
			requireNoDemo(t, out.String())
		})
	}
}

func TestDemoKeep(t *testing.T) {
	cmd, out := startDemo(t, "-keep", "-for", "100ms")
	n := &node{t: t, name: "demo"}
	n.eventually("what to type", func() error {
		if !strings.Contains(out.String(), "ctrl-C ends it") {
			return os.ErrNotExist
		}
		return nil
	})
	// What it prints works when typed.
	commands := regexp.MustCompile(`(?m)^  (sqlite3 .*)$`).FindAllStringSubmatch(out.String(), -1)
	if len(commands) != 3 {
		t.Fatalf("got %d sqlite3 commands, want 3\n%s", len(commands), out)
	}
	mustCommand(t, "sh", "-c", commands[0][1])
	n.eventually("the row", func() error {
		if !strings.Contains(mustCommand(t, "sh", "-c", commands[1][1]), "typed by me") {
			return os.ErrNotExist
		}
		return nil
	})
	if got, err := tryCommand("sh", "-c", commands[2][1]); err == nil || !strings.Contains(got, "attempt to write a readonly database") {
		t.Errorf("got %v, %q, want it refused", err, got)
	}
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	requireNoDemo(t, out.String())
}

// startDemo starts the demo with its output in a buffer that can be read meanwhile.
func startDemo(t *testing.T, args ...string) (*exec.Cmd, *lockedBuffer) {
	t.Helper()
	cmd := command(append([]string{weirBinary, "demo"}, args...)...)
	out := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Signal(syscall.SIGTERM)
			cmd.Wait()
		}
	})
	return cmd, out
}

// requireNoDemo requires that nothing of a demo is left: no mount, no process, no file.
func requireNoDemo(t *testing.T, out string) {
	t.Helper()
	dirs, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if strings.HasPrefix(d.Name(), "weir-demo-") {
			t.Errorf("%s is left over\n%s", d.Name(), out)
		}
	}
	for _, m := range mountsBelow(os.TempDir()) {
		if strings.Contains(m, "weir-demo-") {
			t.Errorf("%s is still mounted\n%s", m, out)
		}
	}
	for _, p := range childProcesses() {
		if strings.Contains(p, "weir-demo-") {
			t.Errorf("still running: %s\n%s", p, out)
		}
	}
}
