package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/fuse/fusetest"
)

// The tests of this package run the real binary on real mounts. SQLite runs in child processes, for its locks belong
// to processes: the sqlite3 shell, python3, and this test binary itself with mattn's driver (see child_test.go).
// Nothing is skipped where something is missing: a machine without /dev/fuse fails.

// weirBinary is the binary under test.
var weirBinary string

// buildFlags go to go build.
var buildFlags []string

func TestMain(m *testing.M) {
	if job := os.Getenv(childVar); job != "" {
		os.Exit(runChild(job, os.Args[1:]))
	}
	if slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run()) // a child of go test -fuzz, which has done the rest
	}
	os.Exit(runTests(m))
}

// runTests builds the binary, runs the tests and looks for what they left behind.
func runTests(m *testing.M) int {
	if signal.Ignored(syscall.SIGHUP) { // under nohup: what is caught here is not ignored by what the tests start
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		return complain(err)
	}
	defer os.RemoveAll(dir)
	// Everything that the tests make is below dir, so that what is left can be told from what others have.
	os.Setenv("TMPDIR", dir)
	if err := errors.Join(os.Chmod(dir, 0o755), preconditions(), build(dir)); err != nil {
		return complain(err)
	}
	removeTemp, err := fusetest.TempFiles(dir)
	if err != nil {
		return complain(err)
	}
	code := m.Run()
	if err := errors.Join(removeTemp(), leftovers(dir)); err != nil {
		return complain(err)
	}
	return code
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "FAIL:", err)
	return 1
}

// preconditions tells what to do where a tool is missing.
func preconditions() error {
	var errs []error
	if _, err := os.Stat("/dev/fuse"); err != nil {
		errs = append(errs, fmt.Errorf("%w: these tests mount; load the fuse module, or give the container the device", err))
	}
	if os.Geteuid() != 0 && !asUser() {
		errs = append(errs, errors.New("not root: these tests mount; run them as root"))
	}
	for tool, pkg := range map[string]string{"sqlite3": "sqlite3", "python3": "python3", "fusermount3": "fuse3"} {
		if _, err := exec.LookPath(tool); err != nil {
			errs = append(errs, fmt.Errorf("%w: run apt-get install %s", err, pkg))
		}
	}
	return errors.Join(errs...)
}

func build(dir string) error {
	if built, is := fusetest.AsUser(); is {
		weirBinary = built
		return nil
	}
	weirBinary = filepath.Join(dir, "weir")
	args := append(append([]string{"build"}, buildFlags...), "-ldflags", "-X main.passAtOnce=yes", "-o", weirBinary, ".")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// leftovers names mounts below dir, processes and temporary files that outlived the tests.
func leftovers(dir string) error {
	var errs []error
	for _, m := range mountsBelow(dir) {
		errs = append(errs, fmt.Errorf("still mounted: %s", m))
	}
	running := childProcesses()
	// The guard of a daemon that was killed ends after it.
	for end := time.Now().Add(patience); len(running) > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		running = childProcesses()
	}
	for _, p := range running {
		errs = append(errs, fmt.Errorf("still running: %s", p))
	}
	rest, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range rest {
		if f.Name() != filepath.Base(weirBinary) {
			errs = append(errs, fmt.Errorf("left over: %s", filepath.Join(dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}

func mountsBelow(dir string) (found []string) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		panic(err) // no test here works without it
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[1], dir) {
			found = append(found, fields[1])
		}
	}
	return found
}

// childProcesses lists our children, and weir's that lost their parent.
func childProcesses() (found []string) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		panic(err)
	}
	self := fmt.Sprintf("PPid:\t%d\n", os.Getpid())
	for _, dir := range dirs {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil {
			continue // it has just ended
		}
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		if bytes.Contains(status, []byte(self)) || exe == weirBinary {
			cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			found = append(found, fmt.Sprintf("%s %s", filepath.Base(dir), bytes.ReplaceAll(cmdline, []byte{0}, []byte(" "))))
		}
	}
	return found
}
