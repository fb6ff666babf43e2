package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should take milliseconds. SQLite's locks are not fair: beside another that
// commits all the time, and a busy machine, a writer may get none for half a minute.
const patience = time.Minute

// node is a "weir mount" in a process of its own, with a directory, a configuration and an address.
type node struct {
	t     *testing.T
	name  string
	weir  string // the binary
	work  string // directory in which it runs, and has its configuration
	dir   string // mounted
	db    string
	addr  string
	conf  string // the configuration file
	log   string // file with what it prints
	line  *line  // on a network of the test's; nil: on the machine's
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is gone
}

// newNode makes the files of a node. It does not start it.
func newNode(t *testing.T, name string) *node {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return newNodeAt(t, name, dir)
}

// newNodeAt makes a node of a directory that is there.
func newNodeAt(t *testing.T, name, dir string) *node {
	t.Helper()
	addr, err := freeAddr(ownIP())
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	n := &node{
		t: t, name: name, addr: addr, weir: weirBinary, work: base, dir: dir,
		db:   filepath.Join(dir, "db"),
		conf: filepath.Join(base, name+".yml"),
		log:  filepath.Join(base, name+".log"),
	}
	t.Cleanup(n.cleanUp)
	return n
}

// ownIP returns a loopback address that no other node has, so that a node finds its port free after a restart.
func ownIP() string {
	n := nodes.Add(1)
	return fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()%250, 1+n/250%250, 1+n%250)
}

var nodes atomic.Int32

func newPrimary(t *testing.T) *node {
	t.Helper()
	n := newNode(t, "primary")
	n.lead()
	return n
}

func newReplica(t *testing.T, upstream *node) *node {
	t.Helper()
	n := newNode(t, "replica")
	n.follow(upstream)
	return n
}

// lead makes the node a primary.
func (n *node) lead() {
	n.t.Helper()
	n.configure("addr: %q\ndbs:\n  - path: %s\n", n.addr, n.db)
}

// follow makes the node a replica.
func (n *node) follow(upstream *node) {
	n.t.Helper()
	n.configure("addr: %q\ndbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n", n.addr, n.db, upstream.addr, upstream.db)
}

// startPair starts a primary and a replica of it, without a database yet.
func startPair(t *testing.T) (primary, replica *node) {
	t.Helper()
	primary = newPrimary(t)
	primary.start()
	replica = newReplica(t, primary)
	replica.start()
	return primary, replica
}

func (n *node) configure(format string, args ...any) {
	n.t.Helper()
	if err := os.WriteFile(n.conf, fmt.Appendf(nil, format, args...), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// start starts weir mount with the node's configuration and waits until it serves.
func (n *node) start(args ...string) {
	n.t.Helper()
	run := []string{n.weir, "mount", "-config", n.conf}
	if n.line != nil {
		run = append(n.line.enter(), run...)
	}
	n.startWith(append(run, args...)...)
}

// startWith starts weir by any command and waits until it serves, or where it has no address, until it is mounted.
func (n *node) startWith(args ...string) {
	n.t.Helper()
	n.spawn(args...)
	text := "msg=serving"
	if n.addr == "" {
		text = "msg=\"mounted "
	}
	n.eventually(text, func() error {
		if n.hasEnded() {
			n.t.Fatalf("%s ended: %v\n%s", n.name, n.cmd.ProcessState, n.logged())
		}
		if !strings.Contains(n.logged(), text) {
			return fmt.Errorf("it has not started")
		}
		return nil
	})
}

// spawn starts a command as the node's process and does not wait for anything.
func (n *node) spawn(args ...string) {
	n.t.Helper()
	log, err := os.Create(n.log)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	n.cmd = command(args...)
	n.cmd.Stdout, n.cmd.Stderr, n.cmd.Dir = log, log, n.work
	// Should the tests die, the node is told to unmount.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	cmd, ended := n.cmd, make(chan struct{})
	n.ended = ended
	go func() {
		cmd.Wait() // read from ProcessState
		close(ended)
	}()
}

// stop ends the node as a service manager does and requires that it went well.
func (n *node) stop() {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	if code := n.exitCode(); code != 0 {
		n.t.Errorf("%s: got exit code %d, want 0\n%s", n.name, code, n.logged())
	}
	if isMounted(n.dir) {
		n.t.Errorf("%s is still mounted after a clean end", n.dir)
	}
}

// kill ends the node by kill -9: its mount stays, dead.
func (n *node) kill() {
	n.t.Helper()
	n.signal(syscall.SIGKILL)
	n.exitCode()
}

func (n *node) signal(sig syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatalf("%s: send %v: %v\n%s", n.name, sig, err, n.logged())
	}
}

// exitCode waits for the end.
func (n *node) exitCode() int {
	n.t.Helper()
	select {
	case <-n.ended:
	case <-time.After(patience):
		n.t.Fatalf("%s did not end within %v\n%s", n.name, patience, n.logged())
	}
	return n.cmd.ProcessState.ExitCode()
}

func (n *node) hasEnded() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// logged returns what the node has printed since its last start.
func (n *node) logged() string {
	data, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// awaitLog waits for text in what the node prints.
func (n *node) awaitLog(text string) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("%q in the log", text), func() error {
		if !strings.Contains(n.logged(), text) {
			return fmt.Errorf("it is not there")
		}
		return nil
	})
}

// eventually waits until check returns nil.
func (n *node) eventually(what string, check func() error) {
	n.t.Helper()
	n.within(patience, what, check)
}

func (n *node) within(limit time.Duration, what string, check func() error) {
	n.t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	n.t.Fatalf("%s: waiting for %s: %v\n%s", n.name, what, err, n.logged())
}

// cleanUp ends the node whatever state it is in.
func (n *node) cleanUp() {
	if n.t.Failed() && n.cmd != nil {
		n.t.Logf("%s's log:\n%s", n.name, n.logged())
	}
	if n.cmd != nil {
		for _, s := range []struct {
			signal os.Signal
			wait   time.Duration
		}{{syscall.SIGTERM, 5 * time.Second}, {syscall.SIGTERM, 5 * time.Second}, {syscall.SIGKILL, patience}} {
			if n.hasEnded() || n.cmd.Process.Signal(s.signal) != nil {
				break
			}
			select {
			case <-n.ended:
			case <-time.After(s.wait):
			}
		}
		if !n.hasEnded() {
			n.t.Errorf("%s (pid %d) can't be ended", n.name, n.cmd.Process.Pid)
		}
	}
	for isMounted(n.dir) {
		if err := unmountLazily(n.dir); err != nil {
			n.t.Errorf("unmount %s: %v", n.dir, err)
			return
		}
	}
}

func unmountLazily(dir string) error {
	if asUser() {
		_, err := tryCommand("fusermount3", "-u", "-z", dir)
		return err
	}
	return unix.Unmount(dir, unix.MNT_DETACH)
}

// nobody is a user and a group without rights.
const nobody = 65534

// asNobody has cmd run as nobody, and nobody reach the node's directory.
func (n *node) asNobody(cmd *exec.Cmd) {
	n.t.Helper()
	// Test directories are for their owner only.
	for dir := filepath.Dir(n.dir); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			n.t.Fatal(err)
		}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
}

// awaitEqual waits until both nodes' databases are the same, page by page, and sound.
func awaitEqual(t *testing.T, primary, replica *node) {
	t.Helper()
	want := image(t, primary.db)
	replica.eventually("the primary's state", func() error {
		if _, err := os.Stat(replica.db); err != nil {
			return err
		}
		_, err := comparePages(want, image(t, replica.db))
		return err
	})
}

// image returns every page of a database as SQLite reads it, after integrity_check.
func image(t *testing.T, db string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	mustCommand(t, "weir", workerName, "check", db, file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// snapshots counts how often a replica has received pages since its last start, a whole database or a delta.
func snapshots(replica *node) int { return strings.Count(replica.logged(), "receiving snapshot") }
