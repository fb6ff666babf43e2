package oracle

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/fuse"
)

var (
	flagSeed        = flag.Uint64("oracle.seed", 0, "run this seed alone")
	flagSeeds       = flag.Int("oracle.seeds", 5, "number of seeds")
	flagFirst       = flag.Uint64("oracle.first", 1, "the first seed")
	flagDuration    = flag.Duration("oracle.duration", 0, "run seeds from a random first one for so long instead")
	flagOps         = flag.Int("oracle.ops", 150, "operations of a seed")
	flagScript      = flag.String("oracle.script", "", "run a script instead of seeds")
	flagReduce      = flag.String("oracle.reduce", "", "reduce a failing seed or script to fewer operations, into this file")
	flagPassthrough = flag.Bool("oracle.passthrough", os.Getenv("WEIR_PASSTHROUGH") != "off", "mount with FUSE passthrough")
	flagLate        = flag.Duration("oracle.late", 15*time.Second, "how long a stream has to show a commit")
	flagTrace       = flag.Bool("oracle.trace", false, "print operations and answers")
	flagKeepGoing   = flag.Bool("oracle.keepgoing", false, "go on after a failing seed")

	generatorOptions options
)

func init() {
	flag.BoolVar(&generatorOptions.unjournaled, "oracle.unjournaled", false, "journal_mode MEMORY and OFF too")
	flag.BoolVar(&generatorOptions.exclusive, "oracle.exclusive", true, "locking_mode EXCLUSIVE too")
	flag.BoolVar(&generatorOptions.attach, "oracle.attach", true, "commits over two databases too")
	flag.BoolVar(&generatorOptions.restart, "oracle.restart", true, "end and begin weir too")
	flag.BoolVar(&generatorOptions.files, "oracle.files", true, "replace the database by other files too")
	flag.BoolVar(&generatorOptions.kill, "oracle.kill", true, "kill writers too")
}

func config(logger *slog.Logger) fuse.Config {
	return fuse.Config{Logger: logger, NoPassthrough: !*flagPassthrough}
}

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Exit(childMain())
	}
	os.Exit(runTests(m))
}

// runTests runs the tests below a directory of their own, and looks for what they left behind.
func runTests(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "weir-oracle-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir)
	code := m.Run()
	if err := leftovers(dir); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		return 1
	}
	return code
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
	children, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return err
	}
	for _, file := range children {
		status, _ := os.ReadFile(file) // none: it has ended
		if bytes.Contains(status, fmt.Appendf(nil, "PPid:\t%d\n", os.Getpid())) {
			errs = append(errs, fmt.Errorf("still running: %s", filepath.Base(filepath.Dir(file))))
		}
	}
	rest, err := os.ReadDir(dir)
	for _, f := range rest {
		errs = append(errs, fmt.Errorf("left over: %s", f.Name()))
	}
	return errors.Join(append(errs, err)...)
}

// deadline is when a run of unbounded seeds ends.
func deadline() time.Time { return time.Now().Add(*flagDuration) }
