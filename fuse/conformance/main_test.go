package conformance

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

var (
	own  = flag.Bool("conformance.programs", false, "run SQLite's own programs, built from its Debian source package")
	long = flag.Bool("conformance.long", false, "run them in full length")
)

// noPassthrough is how all tests are run without FUSE passthrough.
func noPassthrough() bool { return os.Getenv("WEIR_PASSTHROUGH") == "off" }

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(childMain())
	}
	os.Exit(runTests(m))
}

// runTests runs the tests below a directory of their own, and looks for what they left behind.
func runTests(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "weir-conformance-")
	if err != nil {
		return complain(err)
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir)
	if err := preconditions(); err != nil {
		return complain(err)
	}
	// Tests wait for disks and for each other's processes more than they compute.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set("6")
	}
	code := m.Run()
	if err := leftovers(dir); err != nil {
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
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("not root: these tests mount; run them as root"))
	}
	if _, err := exec.LookPath("sqlite3"); err != nil {
		errs = append(errs, fmt.Errorf("%w: run apt-get install sqlite3", err))
	}
	return errors.Join(errs...)
}

// leftovers names mounts, processes and files that outlived the tests.
func leftovers(dir string) error {
	var errs []error
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[1]; strings.HasPrefix(at, dir) {
			errs = append(errs, fmt.Errorf("still mounted: %s", at))
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return err
	}
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
