package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	soakFor   = flag.Duration("soak", 12*time.Second, "how long TestSoak runs")
	soakPause = flag.Duration("soak.pause", 60*time.Millisecond, "how long each of TestSoak's writers pauses between two transactions, on average")
)

// soakModes are the databases, with the journal modes of each.
var soakModes = map[string][]string{
	"wal":      {"WAL"},
	"rollback": {"DELETE"},
	"changing": {"PERSIST", "WAL", "TRUNCATE", "DELETE"},
}

// soakPragmas make transactions spill, and checkpoints frequent.
const soakPragmas = "PRAGMA cache_size = 100; PRAGMA wal_autocheckpoint = 500; PRAGMA synchronous = NORMAL"

// soakItems is how many items a database has at most, of 5 kB on average.
const soakItems = 2500

// Four processes write to three databases, two replicas follow, one of which is restarted again and again, and readers
// audit each. At the end all are the same, and no daemon has grown. With -v it prints how the daemons stand.
func TestSoak(t *testing.T) {
	skipRaced(t)
	t.Parallel()
	s := newSoak(t)
	s.fill()
	s.startReaders(0, 1)
	s.startWriters(4)
	s.run(time.Now().Add(*soakFor))
	s.stopWriters()
	s.endLong()
	s.stopReaders(0, 1)
	s.compare()
	s.judge()
	for _, n := range []*node{s.replicas[1], s.replicas[0], s.primary} {
		n.stop()
	}
}

// soak is a running TestSoak. Everything in it belongs to the test's goroutine.
type soak struct {
	t        *testing.T
	started  time.Time
	primary  *node
	replicas [2]*node
	watched  []*watched
	names    []string // of the databases, in the writers' order

	writers   []*background
	committed []map[string]int64 // by writer and the database's index, as the writers say

	readers    [2]*background
	restarts   int
	down, up   time.Time   // the second replica's last death without notice
	long       *background // a read transaction that stays open, nil if none
	longAnswer string
	audits     int
}

func newSoak(t *testing.T) *soak {
	s := &soak{t: t, started: time.Now(), primary: newNode(t, "primary"), names: slices.Sorted(maps.Keys(soakModes))}
	s.configure(s.primary, "")
	for i := range s.replicas {
		s.replicas[i] = newNode(t, fmt.Sprintf("replica%d", i+1))
		s.configure(s.replicas[i], s.primary.addr)
	}
	for _, n := range []*node{s.primary, s.replicas[0], s.replicas[1]} {
		s.watched = append(s.watched, watch(t, n))
		n.start()
	}
	return s
}

func (s *soak) configure(n *node, upstream string) {
	var conf strings.Builder
	fmt.Fprintf(&conf, "addr: %q\ndbs:\n", n.addr)
	for _, name := range s.names {
		fmt.Fprintf(&conf, "  - path: %s/%s\n", n.dir, name)
		if upstream != "" {
			fmt.Fprintf(&conf, "    upstream:\n      url: http://%s\n      path: %s/%s\n", upstream, s.primary.dir, name)
		}
	}
	n.configure("%s", conf.String())
}

func (s *soak) paths(n *node) (paths []string) {
	for _, name := range s.names {
		paths = append(paths, filepath.Join(n.dir, name))
	}
	return paths
}

// fill gives the databases the size that they keep, and waits for the replicas.
func (s *soak) fill() {
	for _, db := range s.paths(s.primary) {
		shell(s.t, db, ledgerSchema)
	}
	for i := range s.replicas {
		s.awaitEqual(i)
	}
}

// awaitEqual waits until a replica has the primary's databases, page by page.
func (s *soak) awaitEqual(i int) {
	s.t.Helper()
	for _, name := range s.names {
		want := image(s.t, filepath.Join(s.primary.dir, name))
		s.replicas[i].eventually("the primary's state of the database "+name, func() error {
			db := filepath.Join(s.replicas[i].dir, name)
			if _, err := os.Stat(db); err != nil {
				return err
			}
			_, err := comparePages(want, image(s.t, db))
			return err
		})
	}
}

func (s *soak) startWriters(n int) {
	for i := range n {
		l := load{Writer: int64(i), Seed: uint64(time.Now().UnixNano()), Pause: *soakPause}
		for _, name := range s.names {
			modes := soakModes[name]
			// A database leaves WAL mode only when nobody else has it open.
			l.DBs = append(l.DBs, ledger{Path: filepath.Join(s.primary.dir, name), Pragmas: soakPragmas, Modes: modes, MaxItems: soakItems, Reopen: len(modes) > 1})
		}
		s.writers = append(s.writers, startBackground(s.t, "load", asJSON(l)))
		s.committed = append(s.committed, make(map[string]int64))
	}
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // these values always can be
	}
	return string(b)
}

// run does what is due until the end.
func (s *soak) run(end time.Time) {
	length := time.Until(end)
	sample, line, restart := min(length/40, 5*time.Second), min(length/8, 30*time.Second), min(length/4, 20*time.Second)
	long, hold := min(length/2, time.Minute), min(length/4, 40*time.Second)
	now := time.Now()
	tasks := []*task{
		{now.Add(sample), sample, s.sample},
		{now.Add(line), line, s.print},
		{now.Add(restart), restart, s.restart},
		{now.Add(long / 10), long, s.beginLong},
		{now.Add(long/10 + hold), long, s.endLong},
	}
	s.t.Logf("%s", watchedHeader)
	for time.Now().Before(end) && !s.t.Failed() {
		s.listen()
		for _, task := range tasks {
			if time.Now().After(task.next) {
				task.run()
				task.next = task.next.Add(task.every)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// task is done again and again.
type task struct {
	next  time.Time
	every time.Duration
	run   func()
}

// listen notes what the writers have committed.
func (s *soak) listen() {
	for i, w := range s.writers {
		for len(w.lines) > 0 {
			s.note(i, w.next())
		}
	}
}

func (s *soak) note(writer int, line string) {
	s.t.Helper()
	var db int
	var n int64
	if _, err := fmt.Sscan(line, &db, &n); err != nil {
		s.t.Fatalf("a writer printed %q: %v", line, err)
	}
	s.committed[writer][s.names[db]] = n
}

func (s *soak) stopWriters() {
	s.t.Helper()
	for i, w := range s.writers {
		for _, line := range w.finish() {
			s.note(i, line)
		}
	}
}

func (s *soak) transactions() (sum int64) {
	for _, byName := range s.committed {
		for _, n := range byName {
			sum += n
		}
	}
	return sum
}

// startReaders starts an auditor on each of the replicas.
func (s *soak) startReaders(replicas ...int) {
	s.t.Helper()
	for _, i := range replicas {
		s.readers[i] = startBackground(s.t, "audits", asJSON(audits{DBs: s.paths(s.replicas[i]), Pause: 100 * time.Millisecond}))
	}
}

// stopReaders ends auditors, and requires that all they saw was right.
func (s *soak) stopReaders(replicas ...int) {
	s.t.Helper()
	for _, i := range replicas {
		for _, line := range s.readers[i].finish() {
			var a answer
			if err := json.Unmarshal([]byte(line), &a); err != nil {
				s.t.Fatalf("a reader printed %q: %v", line, err)
			}
			s.audits += a.Good
			dead := i == 1 && a.Until.After(s.down) && a.At.Before(s.up)
			if a.Error != "" && !(a.Clean && dead) {
				s.t.Errorf("%s: a reader of %s got an error at %s: %s", s.replicas[i].name, a.DB, a.At, a.Error)
			}
		}
	}
}

// restart restarts the second replica, by a signal and by kill -9 in turn. Its auditor goes on while the mount is dead.
func (s *soak) restart() {
	s.t.Helper()
	n := s.replicas[1]
	if s.restarts++; s.restarts%2 == 0 {
		s.stopReaders(1)
		n.stop()
	} else {
		s.down = time.Now()
		n.kill()
		time.Sleep(300 * time.Millisecond)
		s.up = time.Now()
		s.stopReaders(1)
	}
	n.start()
	s.startReaders(1)
}

// longQuery tells what a snapshot is.
const longQuery = "SELECT p.n, p.items, p.total, (SELECT count(*) FROM item), (SELECT sum(v) FROM item NOT INDEXED), (SELECT sum(length(filler)) FROM item), (SELECT group_concat(n) FROM writer) FROM proof p"

// beginLong begins a read transaction on the first replica.
func (s *soak) beginLong() {
	s.t.Helper()
	s.endLong() // where the machine was too busy to do it in time
	name := s.names[s.restarts%len(s.names)]
	s.long = startBackground(s.t, "hold", filepath.Join(s.replicas[0].dir, name), longQuery)
	s.longAnswer = s.long.next()
}

// endLong ends it, and requires that its snapshot is what it was.
func (s *soak) endLong() {
	s.t.Helper()
	if s.long == nil {
		return
	}
	if got := s.long.finish(); len(got) != 1 || got[0] != s.longAnswer {
		s.t.Errorf("a read transaction on %s: got %q, want %q as at first", s.replicas[0].name, got, s.longAnswer)
	}
	s.long = nil
}

// compare compares the replicas with the primary, and the primary with what the writers say.
func (s *soak) compare() {
	s.t.Helper()
	for _, db := range s.paths(s.primary) {
		for i, byName := range s.committed {
			want := fmt.Sprint(byName[filepath.Base(db)])
			if got := shell(s.t, db, fmt.Sprintf("SELECT coalesce(sum(n), 0) FROM writer WHERE id = %d", i)); got != want {
				s.t.Errorf("%s has %s transactions of writer %d, want %s", db, got, i, want)
			}
		}
	}
	for i := range s.replicas {
		s.awaitEqual(i)
	}
	s.t.Logf("%d transactions, %d audits, %d restarts", s.transactions(), s.audits, s.restarts)
	for _, n := range []*node{s.primary, s.replicas[0]} {
		if strings.Contains(n.logged(), "level=ERROR") {
			s.t.Errorf("%s has logged an error:\n%s", n.name, n.logged())
		}
	}
}
