package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wrapped runs a command below weir mount and returns the exit code and what it printed.
func (n *node) wrapped(command ...string) (code int, out string) {
	n.t.Helper()
	var stdout bytes.Buffer
	log, err := os.Create(n.log)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(weirBinary, append([]string{"mount", "-config", n.conf, "--"}, command...)...)
	cmd.Stdout, cmd.Stderr = &stdout, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Run() // its exit code is the result
	if isMounted(n.dir) {
		n.t.Errorf("%s is still mounted after the command's end\n%s", n.dir, n.logged())
	}
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(stdout.String())
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		code         int
		out          string
	}{
		{"uses the mount", `sqlite3 "$1" "CREATE TABLE t (x); INSERT INTO t VALUES (42); SELECT x FROM t"`, 0, "42"},
		{"sees the mount", `grep -c " $(dirname "$1") fuse" /proc/mounts`, 0, "1"},
		{"exit code", `exit 7`, 7, ""},
		{"killed", `kill -KILL $$`, 137, ""},
		{"terminated", `kill -TERM $$`, 143, ""},
		{"process group", `set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo own`, 0, "own"},
		{"standard input", `read x; echo "got $x"`, 0, "got"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newPrimary(t)
			code, out := n.wrapped("sh", "-c", tt.script, "sh", n.db)
			if code != tt.code || out != tt.out {
				t.Errorf("got exit code %d and %q, want %d and %q\n%s", code, out, tt.code, tt.out, n.logged())
			}
		})
	}
}

func TestCommandNotStarted(t *testing.T) {
	n := newPrimary(t)
	if code, _ := n.wrapped("no-such-command"); code != 127 {
		t.Errorf("got exit code %d, want 127", code)
	}
	if code, _ := n.wrapped("/etc/passwd"); code != 126 {
		t.Errorf("got exit code %d, want 126", code)
	}
}

// On a replica the command finds the database: it is started when the first snapshot is published.
func TestCommandOnReplica(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	replica := newReplica(t, primary)
	go func() {
		time.Sleep(300 * time.Millisecond)
		tryCommand("sqlite3", primary.db, auditSchema+auditStep)
	}()
	code, out := replica.wrapped("sqlite3", replica.db, "SELECT count(*) FROM sqlite_schema; PRAGMA integrity_check")
	if code != 0 || !strings.HasSuffix(out, "ok") {
		t.Errorf("got exit code %d and %q, want 0 and ok\n%s", code, out, replica.logged())
	}
}

// A replica whose primary never comes can be ended while the command waits.
func TestCommandThatNeverStarts(t *testing.T) {
	replica := newReplica(t, newPrimary(t))
	replica.start("--", "touch", replica.conf+".started")
	replica.signal(syscall.SIGTERM)
	if code := replica.exitCode(); code != 143 {
		t.Errorf("got exit code %d, want 143\n%s", code, replica.logged())
	}
	if _, err := os.Stat(replica.conf + ".started"); err == nil {
		t.Error("the command was started")
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	for _, sig := range []syscall.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGCONT, syscall.Signal(40),
	} {
		t.Run(sig.String(), func(t *testing.T) {
			n := newPrimary(t)
			script := fmt.Sprintf("import os, signal, sys\n"+
				"signal.signal(%d, lambda *_: os._exit(11))\nopen(sys.argv[1], 'w').close()\n"+
				"while True: signal.pause()\n", sig)
			ready := n.conf + ".ready"
			n.start("--", "python3", "-c", script, ready)
			n.eventually("the command", func() error { _, err := os.Stat(ready); return err })
			n.signal(sig)
			if code := n.exitCode(); code != 11 {
				t.Errorf("got exit code %d, want the command's 11\n%s", code, n.logged())
			}
			if isMounted(n.dir) {
				t.Errorf("%s is still mounted", n.dir)
			}
		})
	}
}

// A command that does not mind SIGTERM is killed by the second.
func TestStubbornCommand(t *testing.T) {
	n := newPrimary(t)
	ready := n.conf + ".ready"
	n.start("--", "sh", "-c", `trap '' TERM; : >"$1"; while :; do sleep 0.05; done`, "sh", ready)
	n.eventually("the command", func() error { _, err := os.Stat(ready); return err })
	n.signal(syscall.SIGTERM)
	time.Sleep(100 * time.Millisecond)
	if n.hasEnded() || !isMounted(n.dir) {
		t.Fatalf("weir ended before its command\n%s", n.logged())
	}
	n.signal(syscall.SIGTERM)
	if code := n.exitCode(); code != 137 {
		t.Errorf("got exit code %d, want 137\n%s", code, n.logged())
	}
}

func TestSignalUnmounts(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			primary, replica := startPair(t)
			shell(t, primary.db, auditSchema)
			awaitEqual(t, primary, replica)
			for _, n := range []*node{replica, primary} {
				n.signal(sig)
				if code := n.exitCode(); code != 0 {
					t.Errorf("%s: got exit code %d, want 0\n%s", n.name, code, n.logged())
				}
				if isMounted(n.dir) {
					t.Errorf("%s is still mounted", n.dir)
				}
			}
			if got := shell(t, primary.db, "PRAGMA integrity_check"); got != "ok" {
				t.Errorf("integrity_check below the mount: got %s", got)
			}
		})
	}
}

// While a process has files open the unmount waits, names the process, and goes on when it has closed them.
func TestUnmountWaitsForOpenFiles(t *testing.T) {
	n := newPrimary(t)
	n.start()
	shell(t, n.db, "PRAGMA journal_mode = WAL;"+auditSchema)
	reader := startBackground(t, "hold", n.db, "SELECT n FROM counter")
	reader.next()
	n.signal(syscall.SIGTERM)
	n.awaitLog("files are held open")
	n.awaitLog(fmt.Sprintf("(pid %d)", reader.cmd.Process.Pid))
	shell(t, n.db, auditStep) // the mount works as before
	if n.hasEnded() {
		t.Fatal("weir ended although files are open")
	}
	reader.finish()
	if code := n.exitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0\n%s", code, n.logged())
	}
}

// A second signal ends weir anyway.
func TestSecondSignalUnmountsLazily(t *testing.T) {
	for _, side := range []string{"primary", "replica"} {
		t.Run(side, func(t *testing.T) {
			primary, replica := startPair(t)
			shell(t, primary.db, "PRAGMA journal_mode = WAL;"+auditSchema)
			awaitEqual(t, primary, replica)
			n := map[string]*node{"primary": primary, "replica": replica}[side]
			reader := startBackground(t, "hold", n.db, "SELECT n FROM counter")
			reader.next()
			n.signal(syscall.SIGTERM)
			n.awaitLog("files are held open")
			n.signal(syscall.SIGTERM)
			if code := n.exitCode(); code != 1 {
				t.Errorf("got exit code %d, want 1\n%s", code, n.logged())
			}
			if isMounted(n.dir) {
				t.Errorf("%s is still mounted", n.dir)
			}
			n.awaitLog("unmounted lazily")
		})
	}
}

// The mount of a daemon that was killed is replaced by the next.
func TestStaleMountIsReplaced(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	for _, n := range []*node{primary, replica} {
		n.kill()
		if _, err := os.Open(n.db); !errors.Is(err, syscall.ENOTCONN) {
			t.Errorf("%s: open on the dead mount: got %v, want ENOTCONN", n.name, err)
		}
		n.start()
	}
	shell(t, primary.db, auditStep)
	awaitEqual(t, primary, replica)
	replica.stop()
	primary.stop()
}

// A second weir on the same directory is refused, and the first one does not notice.
func TestTwoWeirs(t *testing.T) {
	n := newPrimary(t)
	n.start()
	shell(t, n.db, auditSchema)
	out, err := tryCommand(weirBinary, "mount", "-addr", "", n.db)
	if err == nil || !strings.Contains(out, "weir: ") || !strings.Contains(out, n.dir) {
		t.Errorf("got %v, %q, want an error that names %s", err, out, n.dir)
	}
	shell(t, n.db, auditStep)
	n.stop()
}

func TestAddressInUse(t *testing.T) {
	n := newPrimary(t)
	n.start()
	other := newNode(t, "other")
	out, err := tryCommand(weirBinary, "mount", "-addr", n.addr, other.db)
	if err == nil || !strings.Contains(out, "address already in use") || !strings.Contains(out, "hint: choose another address") {
		t.Errorf("got %v, %q", err, out)
	}
	if isMounted(other.dir) {
		t.Errorf("%s is mounted", other.dir)
	}
}

// A command that is started from a terminal gets it: it is in the foreground, and can read.
func TestCommandHasTheTerminal(t *testing.T) {
	n := newPrimary(t)
	const script = `set -- $(cat /proc/$$/stat); [ $5 = $8 ] && echo foreground; read x; echo "got $x"`
	line := fmt.Sprintf("%s mount -config %s -- sh -c '%s'; echo code $?; read y; echo \"then $y\"", weirBinary, n.conf, script)
	cmd := command("script", "-qec", line, "/dev/null")
	cmd.Stdin = strings.NewReader("one\ntwo\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"foreground", "got one", "code 0", "then two"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got %q, want it to have %q", out, want)
		}
	}
}

// Who may not mount is told so.
func TestNotRoot(t *testing.T) {
	n := newNode(t, "primary")
	cmd := command(weirBinary, "mount", "-addr", "", n.db)
	n.asNobody(cmd)
	if err := os.Chown(n.dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "weir: ") || !strings.Contains(string(out), "root") {
		t.Errorf("got %v, %q, want an error that says to run as root", err, out)
	}
}

// A signal in the middle of an application's work loses nothing: weir waits for the application, and what it
// committed is in the log.
func TestSignalUnderLoad(t *testing.T) {
	const steps = 200
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			primary, replica := startPair(t)
			shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+auditSchema)
			awaitEqual(t, primary, replica)
			before := snapshots(replica)
			script := primary.conf + ".sql"
			if err := os.WriteFile(script, []byte(strings.Repeat(auditStep, steps)), 0o644); err != nil {
				t.Fatal(err)
			}
			writer := startBackground(t, "sqlite3", "-bail", primary.db, ".read "+script)
			time.Sleep(50 * time.Millisecond)
			primary.signal(syscall.SIGTERM)
			writer.finish()
			if code := primary.exitCode(); code != 0 {
				t.Fatalf("got exit code %d, want 0\n%s", code, primary.logged())
			}
			if got := shell(t, primary.db, "SELECT n FROM counter"); got != fmt.Sprint(steps) {
				t.Errorf("got counter %s below the mount, want %d", got, steps)
			}
			primary.start()
			awaitEqual(t, primary, replica)
			if got := snapshots(replica); got != before {
				t.Errorf("got %d snapshots, want %d as before", got, before)
			}
		})
	}
}
