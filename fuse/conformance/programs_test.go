package conformance

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/fuse/fusetest"
)

// outcome is how a program ended.
type outcome struct {
	code   int
	output string
}

// lines returns the lines that match a pattern, so that outcomes can be compared without times and process numbers.
func (o outcome) lines(pattern string) []string {
	re := regexp.MustCompile(pattern)
	var found []string
	for line := range strings.Lines(o.output) {
		if re.MatchString(line) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// runIn runs a program in a directory, until its children have ended too.
func runIn(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	// The child changes its directory by itself: until exec it is this process, and the directory may be our mount.
	limit := "120" // seconds
	if *long {
		limit = "1200"
	}
	out, err := fusetest.Command(append([]string{"timeout", "--signal=KILL", limit, "env", "-C", dir}, args...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v", args, err)
	}
	o := outcome{output: string(out)}
	if exit != nil {
		o.code = exit.ExitCode()
	}
	return o
}

// compare runs a program on the mount and on the file system below. What matters of its output matches a pattern.
func (p *pair) compare(pattern string, args ...string) {
	p.Helper()
	mounted := runIn(p.T, p.Primary.Dir, args...)
	plain := runIn(p.T, p.T.TempDir(), args...)
	p.requireEqual(mounted, plain, pattern)
}

func (p *pair) requireEqual(mounted, plain outcome, pattern string) {
	p.Helper()
	got, want := mounted.lines(pattern), plain.lines(pattern)
	if mounted.code != plain.code || !slices.Equal(got, want) {
		p.Fatalf("on the mount: exit code %d, %q\non a plain file: %d, %q\nwhat it printed on the mount:\n%.4000s",
			mounted.code, got, plain.code, want, mounted.output)
	}
}

// TestBuild fetches and builds the programs, so that a machine that cannot have them can be told from one on which they
// fail.
func TestBuild(t *testing.T) { sqlitePrograms(t) }

func TestProgramMptester(t *testing.T) {
	s := sqlitePrograms(t)
	for _, script := range []string{"multiwrite01.test", "crash01.test", "config01.test", "config02.test"} {
		for _, mode := range journaled {
			// The config scripts set the mode for their tasks by themselves, and the second one takes its time.
			if strings.HasPrefix(script, "config") && !*long && (mode != "DELETE" || script == "config02.test") {
				continue
			}
			t.Run(script+" in "+mode, func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				p.compare("^Summary:", s.path("mptester"), "db", s.path(script), "--journalmode", mode)
				p.Warnings.Take() // of config01's unjournaled tasks
				p.check()
			})
		}
	}
}

func TestProgramThreadtest3(t *testing.T) {
	s := sqlitePrograms(t)
	for _, test := range []string{"walthread1", "walthread2", "walthread3", "walthread4", "walthread5", "cgt_pager_1", "dynamic_triggers",
		"checkpoint_starvation_1", "checkpoint_starvation_2", "create_drop_index_1", "lookaside1", "vacuum1", "stress1", "stress2", "shared1"} {
		t.Run(test, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "test.db")
			program := s.path("threadtest3short")
			if *long || strings.HasPrefix(test, "checkpoint_starvation") { // that counts what gets done in its time
				program = s.path("threadtest3")
			}
			mounted := runIn(t, p.Primary.Dir, program, test)
			// Its connections share a cache. One that is closed lets go of its lock when the next may be open already, and
			// PRAGMA journal_mode then fails without a busy handler. Once in a while that is so, the slower the more often.
			for tries := 0; test == "stress2" && strings.Contains(mounted.output, "Error: (5)") && tries < 3; tries++ {
				t.Logf("again, after\n%s", mounted.output)
				mounted = runIn(t, p.Primary.Dir, program, test)
			}
			p.requireEqual(mounted, runIn(t, t.TempDir(), program, test), "^[0-9]+ errors out of|^Running")
			p.check()
		})
	}
}

func TestProgramKvtest(t *testing.T) {
	s := sqlitePrograms(t)
	count := "300"
	if *long {
		count = "20000"
	}
	for _, mode := range []string{"delete", "truncate", "persist", "wal"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p, plain := newPair(t), t.TempDir()
			for _, args := range [][]string{
				{"init", "db", "--count", count, "--size", "9000", "--pagesize", "4096"},
				{"run", "db", "--update", "--count", count, "--jmode", mode, "--random", "--integrity-check"},
				{"run", "db", "--update", "--multitrans", "--count", "200", "--jmode", mode, "--random"},
				{"run", "db", "--count", count, "--blob-api", "--mmap", "10000000"},
				{"stat", "db"},
				{"stat", "db", "--vacuum"},
			} {
				args = append([]string{s.path("kvtest")}, args...)
				p.requireEqual(runIn(t, p.Primary.Dir, args...), runIn(t, plain, args...), "^(SQLite|--|Database|Number|Average|Minimum|Maximum|Page|Freelist|[Ii]ntegrity)")
				p.check()
			}
		})
	}
}

func TestProgramSpeedtest1(t *testing.T) {
	s := sqlitePrograms(t)
	size := "2"
	if *long {
		size = "100"
	}
	for _, mode := range []string{"delete", "truncate", "persist", "wal"} {
		for _, page := range []int{1024, 4096} {
			t.Run(fmt.Sprintf("%s with pages of %d", mode, page), func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				p.compare("Verification Hash", s.path("speedtest1"), "--verify", "--size", size, "--journal", mode, "--pagesize", fmt.Sprint(page), "db")
				p.check()
			})
		}
	}
}
