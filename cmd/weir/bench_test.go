package main

import (
	"encoding/json"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// Every measurement gives a rate in every place, and every row's lag is known.
func TestBench(t *testing.T) {
	skipRaced(t)
	dir := t.TempDir()
	out := mustCommand(t, weirBinary, "bench", "-dir", dir, "-rounds", "1", "-turn", "30ms", "-json")
	var report benchReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	places := 0
	for _, c := range benchCases() {
		places += len(c.places)
	}
	if len(report.Results) != places {
		t.Errorf("got %d results, want %d", len(report.Results), places)
	}
	for _, r := range report.Results {
		if len(r.Rates) != 1 || r.Rate <= 0 || r.Ratio <= 0 {
			t.Errorf("%s on %s: got rates %v, median %v, ratio %v", r.Name, r.Place, r.Rates, r.Rate, r.Ratio)
		}
	}
	if l := report.Lag; l == nil || l.Rows == 0 || l.Median < 0 || l.P99 < l.Median || l.Max < l.P99 {
		t.Errorf("got lag %+v", l)
	}
	requireEmpty(t, dir)
}

// The table has a line for each measurement; ctrl-C cleans up.
func TestBenchTable(t *testing.T) {
	dir := t.TempDir()
	out := mustCommand(t, weirBinary, "bench", "-dir", dir, "-rounds", "2", "-turn", "20ms", "-run", "insert, WAL, FULL")
	if !regexp.MustCompile(`(?m)^ *insert, WAL, FULL +[0-9,]+ +[0-9,]+ +[0-9]+\.[0-9]{2} +tx/s *$`).MatchString(out) {
		t.Errorf("got\n%s\nwant a line with rates and their ratio", out)
	}
	requireEmpty(t, dir)
}

func TestBenchInterrupted(t *testing.T) {
	dir := t.TempDir()
	cmd := command(weirBinary, "bench", "-dir", dir)
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
