package fusetest

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Main runs a package's tests, or the child that a test has started. The result is for [os.Exit].
func Main(m *testing.M, c *Child) int {
	if os.Getenv(childVar) != "" {
		return report(c.run(os.Stdin, os.Stdout))
	}
	flag.Parse()
	if flag.Lookup("test.fuzzworker").Value.String() == "true" {
		return m.Run() // go test -fuzz has done the rest
	}
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		return report(err)
	}
	defer os.RemoveAll(dir)
	// Everything that the tests make is below dir, so that what is left can be told from what others have.
	os.Setenv("TMPDIR", dir)
	if err := preconditions(); err != nil {
		return report(err)
	}
	removeTemp, err := TempFiles(dir)
	if err != nil {
		return report(err)
	}
	code := m.Run()
	if err := errors.Join(removeTemp(), Leftovers(dir)); err != nil {
		return report(err)
	}
	return code
}

// TempFiles has SQLite make its temporary files in a directory of their own below dir, which remove removes: a process
// that is killed between making such a file and taking its name away leaves it, with any SQLite.
func TempFiles(dir string) (remove func() error, err error) {
	temp := filepath.Join(dir, "sqlite")
	if err := os.Mkdir(temp, 0o700); err != nil {
		return nil, err
	}
	// Users without rights use SQLite in some tests. The umask does not count for a chmod.
	if err := os.Chmod(temp, 0o777); err != nil {
		return nil, err
	}
	return func() error { return os.RemoveAll(temp) }, os.Setenv("SQLITE_TMPDIR", temp)
}

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "FAIL:", err)
	return 1
}

// preconditions tells what to do where something is missing.
func preconditions() error {
	var errs []error
	if _, err := os.Stat("/dev/fuse"); err != nil {
		errs = append(errs, fmt.Errorf("%w: these tests mount; load the fuse module, or give the container the device", err))
	}
	if _, is := AsUser(); os.Geteuid() != 0 && !is {
		errs = append(errs, errors.New("not root: these tests mount; run them as root"))
	}
	if _, err := exec.LookPath("sqlite3"); err != nil {
		errs = append(errs, fmt.Errorf("%w: run apt-get install sqlite3", err))
	}
	return errors.Join(errs...)
}

// Leftovers names mounts below dir, processes of ours and files in dir that outlived the tests.
func Leftovers(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	errs := []error{err}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[1]; strings.HasPrefix(at, dir) {
			errs = append(errs, fmt.Errorf("still mounted: %s", at))
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/status")
	errs = append(errs, err)
	for _, file := range processes {
		status, _ := os.ReadFile(file) // none: it has ended
		if bytes.Contains(status, fmt.Appendf(nil, "PPid:\t%d\n", os.Getpid())) {
			errs = append(errs, fmt.Errorf("still running: process %s", filepath.Base(filepath.Dir(file))))
		}
	}
	rest, err := os.ReadDir(dir)
	for _, f := range rest {
		errs = append(errs, fmt.Errorf("left over: %s", f.Name()))
	}
	return errors.Join(append(errs, err)...)
}
