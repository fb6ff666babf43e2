package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childVar in the environment makes the test binary another process: its value is the job.
const childVar = "WEIR_TEST_CHILD"

func TestMain(m *testing.M) {
	switch job := os.Getenv(childVar); job {
	case "":
		os.Exit(m.Run())
	case "guard":
		exit(RunGuard())
	case "waiter":
		exit(waitForItself(os.Args[1]))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// testCommand makes a command that runs the test binary for a job.
func testCommand(job string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childVar+"="+job, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// leased is a file in the directory of a [waiter], and slow is how long what takes milliseconds may take.
const (
	leased = "leased"
	slow   = 60 * time.Second
)

// waitForItself is a daemon with a thread that opens a file in the daemon's own mount. It crashes at the end of standard
// input.
func waitForItself(dir string) error {
	cfg := Config{
		Databases:   []Database{{Path: filepath.Join(dir, "db")}},
		Passthrough: PassthroughOff,
		Guard:       func() *exec.Cmd { return testCommand("guard") },
	}
	m, err := Mount(context.Background(), cfg)
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		panic("standard input has ended")
	}()
	fd, err := m.dirs[0].sb.open(leased, unix.O_RDONLY)
	return fmt.Errorf("opened the file as descriptor %d (%v), want to wait for it", fd, err)
}

// waiter is [waitForItself] in a process of its own. The file has a lease (fcntl(2)), so that the thread that serves the
// request waits for us.
type waiter struct {
	*testing.T
	dir   string
	lease *os.File
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{} // closed when the process is gone
	quiet chan struct{} // closed when its guard is gone, too: nobody has its standard error open
	abort *os.File      // of its file system
}

func startWaiter(t *testing.T) *waiter {
	t.Helper()
	w := &waiter{T: t, dir: t.TempDir(), ended: make(chan struct{}), quiet: make(chan struct{})}
	w.takeLease()
	w.start()
	w.await("the request", func() bool { return w.asked() })
	w.openAbort()
	return w
}

func (w *waiter) takeLease() {
	w.Helper()
	var err error
	if w.lease, err = os.Create(filepath.Join(w.dir, leased)); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { w.lease.Close() })
	if _, err := unix.FcntlInt(w.lease.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		w.Fatalf("lease: %v", err)
	}
}

// asked tells whether somebody waits for the lease to be given up.
func (w *waiter) asked() bool {
	w.Helper()
	select {
	case <-w.ended:
		w.Fatal("it has ended")
	default:
	}
	kind, err := unix.FcntlInt(w.lease.Fd(), unix.F_GETLEASE, 0)
	if err != nil {
		w.Fatal(err)
	}
	return kind != unix.F_WRLCK
}

func (w *waiter) start() {
	w.Helper()
	stderr, theirs, err := os.Pipe()
	if err != nil {
		w.Fatal(err)
	}
	defer theirs.Close()
	w.cmd = testCommand("waiter", w.dir)
	w.cmd.Env = append(w.cmd.Env, "GOTRACEBACK=none")
	w.cmd.Stderr = theirs
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		w.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	go func() {
		defer close(w.quiet)
		defer stderr.Close()
		io.Copy(w.Output(), stderr)
	}()
	go func() {
		defer close(w.ended)
		w.cmd.Wait() // it is killed
	}()
	w.Cleanup(w.end)
}

// openAbort makes sure that the test does not hang with what it tests.
func (w *waiter) openAbort() {
	w.Helper()
	fi, err := os.Stat(w.dir)
	if err != nil {
		w.Fatal(err)
	}
	control, err := mountControl()
	if err != nil {
		w.Fatal(err)
	}
	defer unix.Close(control)
	name := fmt.Sprintf("/proc/self/fd/%d/%d/abort", control, fi.Sys().(*syscall.Stat_t).Dev)
	if w.abort, err = os.OpenFile(name, os.O_WRONLY, 0); err != nil {
		w.Fatal(err)
	}
}

// end ends everything, whatever state it is in.
func (w *waiter) end() {
	w.cmd.Process.Kill()
	if w.abort != nil {
		w.abort.WriteString("1")
		w.abort.Close()
	}
	w.lease.Close()
	<-w.ended
	if err := unix.Unmount(w.dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		w.Error(err)
	}
	<-w.quiet
}

func (w *waiter) await(what string, holds func() bool) {
	w.Helper()
	for deadline := time.Now().Add(slow); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("waited %v for %s", slow, what)
		}
	}
}

// A daemon that waits for an answer of its own mount is gone when it has been killed or has crashed, the mount is dead,
// and who waits for it learns so.
func TestKilledWhileWaiting(t *testing.T) {
	for name, end := range map[string]func(*waiter) error{
		"killed":  func(w *waiter) error { return w.cmd.Process.Kill() },
		"crashed": func(w *waiter) error { return w.stdin.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w := startWaiter(t)
			app := exec.Command("cat", filepath.Join(w.dir, leased))
			if err := app.Start(); err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			if err := end(w); err != nil {
				t.Fatal(err)
			}
			w.gone(w.ended, "the daemon")
			t.Logf("gone after %v", time.Since(started))
			if err := app.Wait(); err == nil {
				t.Error("the app has read the file, want an error")
			}
			if err := unix.Statfs(w.dir, new(unix.Statfs_t)); !errors.Is(err, unix.ENOTCONN) {
				t.Errorf("statfs: got %v, want %v", err, unix.ENOTCONN)
			}
			w.gone(w.quiet, "its guard")
		})
	}
}

func (w *waiter) gone(ended <-chan struct{}, who string) {
	w.Helper()
	select {
	case <-ended:
	case <-time.After(slow / 2):
		w.Fatalf("%s is still there after %v", who, slow/2)
	}
}

// A guard that can't be had is said to be missing, once, and weir goes on without.
func TestNoGuard(t *testing.T) {
	var log bytes.Buffer
	cfg := Config{
		Databases:   []Database{{Path: filepath.Join(t.TempDir(), "db")}, {Path: filepath.Join(t.TempDir(), "db")}},
		Logger:      slog.New(slog.NewTextHandler(&log, nil)),
		Passthrough: passthrough(),
		Guard:       func() *exec.Cmd { return exec.Command("true") },
	}
	m, err := Mount(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unmount(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Count(log.String(), "no guard"); got != 1 || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("got %d warnings, want 1:\n%s", got, &log)
	}
}
