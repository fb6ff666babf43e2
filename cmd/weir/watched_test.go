package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/stream"
)

// watched is a node and what was seen of its process and files.
type watched struct {
	*node
	root    *os.Root // its directory below the mount
	samples []sample
}

// sample is a daemon at one moment. Sizes are in bytes.
type sample struct {
	at          time.Duration // since the start
	rss         int64
	descriptors int64
	threads     int64
	log         int64 // segments of all databases
	db, wal     int64 // databases and their WALs
	lag         time.Duration
	behind      uint64 // transactions, in all databases
}

const watchedHeader = "    time  daemon    transactions  behind    lag ms  RSS MiB  descriptors  threads   DB MiB  WAL MiB  log MiB"

func (s sample) line(name string, transactions int64) string {
	mib := func(n int64) float64 { return float64(n) / (1 << 20) }
	return fmt.Sprintf("%8s  %-8s  %12d  %6d  %8.1f  %7.1f  %11d  %7d  %7.1f  %7.1f  %7.1f", s.at.Round(time.Second), name, transactions, s.behind,
		float64(s.lag)/1e6, mib(s.rss), s.descriptors, s.threads, mib(s.db), mib(s.wal), mib(s.log))
}

// watch opens the node's directory before it is mounted over.
func watch(t *testing.T, n *node) *watched {
	t.Helper()
	root, err := os.OpenRoot(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &watched{node: n, root: root}
}

// look takes a sample.
func (w *watched) look(at time.Duration) (s sample, err error) {
	proc := fmt.Sprintf("/proc/%d/", w.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return s, err
	}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		return s, err
	}
	s = sample{at: at, descriptors: int64(len(fds)), rss: procField(status, "VmRSS:") << 10, threads: procField(status, "Threads:")}
	s.lag, s.behind = w.lag()
	return s, w.sizes(&s)
}

// procField reads a number in /proc/PID/status.
func procField(status []byte, name string) int64 {
	_, rest, _ := strings.Cut(string(status), "\n"+name)
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		panic(err) // proc(5)
	}
	return n
}

// lag asks the node how far it is behind: the longest time, and the sum of transactions.
func (w *watched) lag() (longest time.Duration, behind uint64) {
	for _, st := range w.status() {
		longest = max(longest, st.Lag)
		if st.UpstreamPos.TXID > st.Pos.TXID {
			behind += uint64(st.UpstreamPos.TXID - st.Pos.TXID)
		}
	}
	return longest, behind
}

// status is what the node says of itself; nothing while it does not answer.
func (w *watched) status() (all []stream.Status) {
	client := http.Client{Timeout: patience}
	resp, err := client.Get("http://" + w.addr + "/status")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		w.t.Errorf("%s: /status: %v", w.name, err)
	}
	return all
}

// sizes adds up the sizes of the files.
func (w *watched) sizes(s *sample) error {
	return fs.WalkDir(w.root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreGone(err)
		}
		fi, err := e.Info()
		switch {
		case err != nil:
			return ignoreGone(err)
		case strings.HasPrefix(path, ".weir/"):
			s.log += fi.Size()
		case strings.HasSuffix(path, "-wal"):
			s.wal += fi.Size()
		case filepath.Ext(path) == "" && !strings.Contains(path, "-"):
			s.db += fi.Size()
		}
		return nil
	})
}

// ignoreGone drops the error that a file was removed while it was looked for.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *soak) sample() {
	s.t.Helper()
	for _, w := range s.watched {
		sample, err := w.look(time.Since(s.started))
		if err != nil {
			s.t.Errorf("%s: %v", w.name, err)
			continue
		}
		w.samples = append(w.samples, sample)
	}
}

func (s *soak) print() {
	for _, w := range s.watched {
		s.t.Log(w.samples[len(w.samples)-1].line(w.name, s.transactions()))
	}
}

// Memory is judged only where the run is long enough for the second quarter to be a steady state.
const judgeMemoryFrom = 4 * time.Minute

// judge compares each daemon's last quarter with its second: medians, so that one sample does not count.
func (s *soak) judge() {
	s.t.Helper()
	for _, w := range s.watched {
		s.flat(w, "descriptors", 4, func(s sample) int64 { return s.descriptors })
		s.flat(w, "threads", 8, func(s sample) int64 { return s.threads })
		if *soakFor >= judgeMemoryFrom {
			s.flat(w, "bytes of memory", 16<<20, func(s sample) int64 { return s.rss })
			s.flat(w, "bytes of WAL", 64<<20, func(s sample) int64 { return s.wal })
		}
	}
}

// flat requires that something does not grow by more than a quarter and slack.
func (s *soak) flat(w *watched, what string, slack int64, of func(sample) int64) {
	s.t.Helper()
	n := len(w.samples)
	before, after := medianSample(w.samples[n/4:n/2], of), medianSample(w.samples[n*3/4:], of)
	s.t.Logf("%s: %s: %d in the second quarter, %d in the last", w.name, what, before, after)
	if after > before+before/4+slack {
		s.t.Errorf("%s: the number of %s has grown from %d to %d", w.name, what, before, after)
	}
}

func medianSample(samples []sample, of func(sample) int64) int64 {
	var values []int64
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
