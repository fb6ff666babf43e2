package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every measurement gives a rate in every place, a replica that was away has all, and every row's lag is known.
func TestBench(t *testing.T) {
	skipRaced(t)
	dir := t.TempDir()
	out := mustCommand(t, weirBinary, "bench", "-dir", dir, "-floor", "-rounds", "1", "-turn", "30ms", "-json")
	var report benchReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	places := 0
	for _, c := range withFloor(benchCases()) {
		places += len(c.places) * len(c.rows())
	}
	if len(report.Results) != places {
		t.Errorf("got %d results, want %d", len(report.Results), places)
	}
	for _, r := range report.Results {
		if len(r.Rates) != 1 || r.Rate <= 0 || r.Ratio <= 0 {
			t.Errorf("%s on %s: got rates %v, median %v, ratio %v", r.Name, r.Place, r.Rates, r.Rate, r.Ratio)
		}
	}
	if len(report.CatchUps) != len(inserted) {
		t.Errorf("got %d replicas that were away, want %d", len(report.CatchUps), len(inserted))
	}
	for _, c := range report.CatchUps {
		requireCaughtUp(t, c)
	}
	if len(report.Lags) != len(lagPauses) {
		t.Errorf("got the lag at %d rates, want %d", len(report.Lags), len(lagPauses))
	}
	for _, l := range report.Lags {
		if l.Rows == 0 || l.Median < 0 || l.P99 < l.Median || l.Max < l.P99 {
			t.Errorf("got lag %+v", l)
		}
	}
	requireEmpty(t, dir)
}

// requireCaughtUp checks what a replica had missed: each transaction has a page or more, and it was away for a second.
func requireCaughtUp(t *testing.T, c *benchCatchUp) {
	t.Helper()
	if len(c.Rounds) != 1 {
		t.Fatalf("%s: got rounds %+v", c.Name, c.Rounds)
	}
	r := c.Rounds[0]
	if r.Bytes < 4096*r.Transactions || float64(r.Transactions) < r.Commits/4 || r.Applies <= 0 || c.Median.Ratio != r.Applies/r.Commits {
		t.Errorf("%s: got %+v, median %+v", c.Name, r, c.Median)
	}
}

// Beside a writer a place has as many transactions a second as the replica's turn, which goes first, or as the case says.
func TestBenchPace(t *testing.T) {
	skipRaced(t)
	out := mustCommand(t, weirBinary, "bench", "-dir", t.TempDir(), "-floor", "-rounds", "3", "-turn", "300ms", "-run", "point reads beside", "-json")
	var report benchReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	writes := 0
	for _, r := range report.Results {
		if r.Name != "the writer beside them" {
			continue
		}
		if writes++; r.Ratio < 0.7 || r.Ratio > 1.4 {
			t.Errorf("the writer for %s: got %v, %.2f of the plain directory's rate, want as many", r.Place, r.Rates, r.Ratio)
		}
		if steady := writes > 3; steady && (r.Rate < 0.7*steadyPace || r.Rate > 1.4*steadyPace) {
			t.Errorf("the writer for %s: got %v, want %d transactions a second", r.Place, r.Rates, steadyPace)
		}
	}
	if writes != 6 {
		t.Errorf("got %d rates of writers, want one for each place in two measurements", writes)
	}
}

// The table has a line for each measurement; ctrl-C cleans up.
func TestBenchTable(t *testing.T) {
	dir := t.TempDir()
	out := mustCommand(t, weirBinary, "bench", "-dir", dir, "-rounds", "2", "-turn", "20ms", "-run", "insert, WAL, NORMAL")
	if !regexp.MustCompile(`(?m)^ *insert, WAL, NORMAL +[0-9,]+ +[0-9,]+ +[0-9]+\.[0-9]{2} +tx/s *$`).MatchString(out) {
		t.Errorf("got\n%s\nwant a line with rates and their ratio", out)
	}
	if strings.Contains(out, "rows") {
		t.Errorf("got\n%s\nwant only the measurement of that name", out)
	}
	if strings.Contains(out, benchReplica) || strings.Contains(out, benchFloor) {
		t.Errorf("got\n%s\nwant no column where nothing was measured", out)
	}
	requireEmpty(t, dir)
}

func TestBenchInterrupted(t *testing.T) {
	dir := t.TempDir()
	cmd := command(weirBinary, "bench", "-floor", "-dir", dir)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // wherever it is by then
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait() // how it ends is judged below
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("got exit code %d, want 130", code)
	}
	requireEmpty(t, dir)
}

func TestBenchRatios(t *testing.T) {
	bare := benchResult{Rates: []float64{100, 200, 400}}
	r := benchResult{Rates: []float64{90, 100, 400}}
	if r.compare(bare); r.Rate != 100 || r.Ratio != 0.9 {
		t.Errorf("got rate %v and ratio %v, want 100 and 0.9", r.Rate, r.Ratio)
	}
	if got := median([]float64{4, 1}); got != 2.5 {
		t.Errorf("got median %v, want 2.5", got)
	}
}

// The plain FUSE mount keeps files where they are. The kernel passes them through, or all goes by its process.
func TestBenchFloor(t *testing.T) {
	const size = 1 << 20
	for mode, passes := range map[string]bool{"auto": mayPassThrough(t), "off": false} {
		t.Run(mode, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "f")
			cmd := startBenchFloor(t, dir, mode)
			before := writtenBy(t, cmd.Process.Pid)
			if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
				t.Error(err)
			}
			if got := writtenBy(t, cmd.Process.Pid) - before; passes != (got < size) {
				t.Errorf("the process has written %d bytes of %d", got, size)
			}
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if fi, err := os.Stat(file); err != nil || fi.Size() != size || isMounted(dir) {
				t.Errorf("afterwards: got %v, %v, mounted: %v", fi, err, isMounted(dir))
			}
		})
	}
}

func startBenchFloor(t *testing.T, dir, mode string) *exec.Cmd {
	t.Helper()
	cmd := command(weirBinary, benchFloorName, dir, mode)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM) }) // where the test gave up
	for end := time.Now().Add(patience); !isMounted(dir); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not mounted")
		}
	}
	return cmd
}

// mayPassThrough tells whether the kernel passes files through for this process.
func mayPassThrough(t *testing.T) bool {
	return command(weirBinary, "mount", "-passthrough", "on", "-config", newPrimary(t).conf, "--", "true").Run() == nil
}

// writtenBy is how many bytes a process has written.
func writtenBy(t *testing.T, pid int) (n int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, "wchar: %d", &n)
	}
	return n
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 0 {
		t.Errorf("%s is left over", files[0].Name())
	}
}
