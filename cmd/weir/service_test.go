package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// told is a service manager's socket.
type told struct {
	t    *testing.T
	conn *net.UnixConn
}

// managed has what starts from here on be started by a service manager.
func managed(t *testing.T) *told {
	t.Helper()
	// An abstract socket has no file, and no limit on where that is.
	path := fmt.Sprintf("@weir-test-%d-%s", os.Getpid(), t.Name())
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &told{t, conn}
}

// next returns the lines of what the manager is told next; nil for nothing within limit.
func (m *told) next(limit time.Duration) []string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		m.t.Fatal(err)
	}
	var buf [4096]byte
	n, err := m.conn.Read(buf[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Split(string(buf[:n]), "\n")
}

func (m *told) require(want string) {
	m.t.Helper()
	if got := m.next(patience); !slices.Contains(got, want) {
		m.t.Fatalf("the service manager was told %q, want %s", got, want)
	}
}

// launch starts the node as a service manager does, which does not read what it logs.
func (n *node) launch(args ...string) {
	n.t.Helper()
	n.spawn(append([]string{n.weir, "mount", "-config", n.conf}, args...)...)
}

// A service manager is told that weir is ready when everything is mounted, also after a crash, and that it stops when it begins to.
// It is told who has files open.
func TestServiceManager(t *testing.T) {
	m := managed(t)
	primary := newPrimary(t)
	ready := func() {
		t.Helper()
		m.require("READY=1")
		if !isMounted(primary.dir) {
			t.Fatalf("%s is not mounted when weir is said to be ready", primary.dir)
		}
	}
	primary.launch()
	ready()
	shell(t, primary.db, "PRAGMA journal_mode = WAL;"+auditSchema)
	primary.kill()
	primary.launch()
	ready()
	reader := startBackground(t, "hold", primary.db, "SELECT n FROM counter")
	reader.next()
	primary.signal(syscall.SIGTERM)
	m.require("STOPPING=1")
	if got := strings.Join(m.next(patience), "\n"); !strings.Contains(got, "held open by weir.test") {
		t.Errorf("the service manager was told %q, want who has files open", got)
	}
	reader.finish()
	if code := primary.exitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	if got := m.next(time.Millisecond); got != nil {
		t.Errorf("in the end the service manager was told %q", got)
	}
}

// Where the start fails the service manager is not told that weir is ready.
func TestServiceManagerFailedStart(t *testing.T) {
	m := managed(t)
	n := newPrimary(t)
	n.configure("addr: %q\ndbs:\n  - path: %s\n  - path: /dev/null/none/db\n", n.addr, n.db)
	n.launch()
	if code := n.exitCode(); code == 0 {
		t.Error("it started")
	}
	if got := m.next(time.Millisecond); got != nil {
		t.Errorf("the service manager was told %q", got)
	}
}

// What weir starts does not speak to the service manager in its place.
func TestServiceManagerOfCommand(t *testing.T) {
	m := managed(t)
	n := newPrimary(t)
	n.launch("--", "sh", "-c", `echo "socket: <$NOTIFY_SOCKET>"`)
	m.require("READY=1")
	m.require("STOPPING=1")
	n.exitCode()
	if want := "socket: <>"; !strings.Contains(n.logged(), want) {
		t.Errorf("got %s, want %s", n.logged(), want)
	}
}

// unit returns the values of a key of weir.service.
func unit(t *testing.T, key string) (values []string) {
	t.Helper()
	data, err := os.ReadFile("deploy/weir.service")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), key+"="); ok {
			values = append(values, value)
		}
	}
	return values
}

// systemd takes the unit, and its command is one of weir's.
func TestServiceUnit(t *testing.T) {
	data, err := os.ReadFile("deploy/weir.service")
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/weir"
	if n := strings.Count(string(data), "\nExecStart="+installed+" "); n != 1 {
		t.Fatalf("%d commands begin with %s, want one", n, installed)
	}
	file := filepath.Join(t.TempDir(), "weir.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(data), installed, weirBinary)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := tryCommand("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file)
	if err != nil || strings.Contains(out, "weir.service") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	for _, start := range unit(t, "ExecStart") {
		args := strings.Fields(start)[2:]
		if _, err := parseMountFlags(args, stdio{err: os.Stderr}); err != nil {
			t.Errorf("weir mount %q: %v", args, err)
		}
	}
	if got := unit(t, "KillMode"); !slices.Equal(got, []string{"process"}) {
		t.Errorf("KillMode is %q: systemd would kill the guard", got)
	}
}

// The unit's stop waits for files that are held open as long as it says, has systemd send the second signal then, and leaves no
// mount.
func TestServiceStop(t *testing.T) {
	for _, held := range []bool{false, true} {
		n := newPrimary(t)
		n.start()
		shell(t, n.db, auditSchema)
		var reader *background
		if held {
			reader = startBackground(t, "hold", n.db, "SELECT n FROM counter")
			reader.next()
		}
		begun := time.Now()
		n.serviceStop()
		if took := time.Since(begun); held && took < time.Second {
			t.Errorf("files held open; the stop command waited for %v, want a second", took)
		}
		if ended := n.exitsSoon(); ended == held {
			t.Errorf("files held open: %v; the stop command left weir ended: %v", held, ended)
		}
		if held {
			n.signal(syscall.SIGTERM) // as systemd does next
			n.exitCode()
			reader.finish()
		}
		if isMounted(n.dir) {
			t.Errorf("%s is still mounted", n.dir)
		}
	}
}

// serviceStop runs the unit's ExecStop, with a second where it has a minute.
func (n *node) serviceStop() {
	n.t.Helper()
	stop := unit(n.t, "ExecStop")
	if len(stop) != 1 || !strings.Contains(stop[0], "timeout 60 ") {
		n.t.Fatalf("ExecStop is %q, want one with timeout 60", stop)
	}
	// The shell reads the quotes as systemd does.
	cmd := exec.Command("sh", "-c", strings.Replace(stop[0], "timeout 60 ", "timeout 1 ", 1))
	cmd.Env = append(os.Environ(), "MAINPID="+strconv.Itoa(n.cmd.Process.Pid))
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
}

// exitsSoon says whether weir has ended, which the test may hear of a moment later than another process.
func (n *node) exitsSoon() bool {
	select {
	case <-n.ended:
		return true
	case <-time.After(time.Second):
		return false
	}
}
