package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"weir/stream"
)

// shutdown is a primary and a replica of a database of some size that are told to end under load.
type shutdown struct {
	*testing.T
	primary, replica *node
	guards           map[*node]int
	writer           *background // on the primary
	reader           *auditor    // on the replica
	acknowledged     int64       // transactions of the writer, 0 before it has ended
	pos              stream.Pos  // of the replica, when the primary had ended
}

// shutdownSize is much more than what a start needs to read if it does not read the database, in bytes.
const shutdownSize = 32 << 20

func newShutdown(t *testing.T, mode, pragmas string) *shutdown {
	t.Helper()
	s := &shutdown{T: t, primary: newPrimary(t), guards: make(map[*node]int)}
	fill := fmt.Sprintf("CREATE TABLE big (x); WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO big SELECT zeroblob(1 << 20) FROM n;", shutdownSize>>20)
	shell(t, s.primary.db, "PRAGMA journal_mode = "+mode+";"+fill+ledgerSchema)
	s.primary.start()
	s.replica = newReplica(t, s.primary)
	s.replica.start()
	awaitEqual(t, s.primary, s.replica)
	for _, n := range []*node{s.primary, s.replica} {
		s.guards[n] = guardOf(n)
	}
	s.writer = startBackground(t, "load", asJSON(load{
		DBs: []ledger{{Path: s.primary.db, Modes: []string{mode}, Pragmas: "PRAGMA wal_autocheckpoint = 200;" + pragmas, MaxItems: 200, Steady: true}},
	}))
	does := audits{DBs: []string{s.replica.db}}
	s.reader = &auditor{startBackground(t, "audits", asJSON(does)), does}
	s.written(20)
	return s
}

// written waits for some transactions more.
func (s *shutdown) written(n int) {
	s.Helper()
	for range n {
		s.read(s.writer.next())
	}
}

// read takes the number of a transaction from what the writer prints.
func (s *shutdown) read(line string) {
	s.Helper()
	if _, err := fmt.Sscanf(line, "0 %d", &s.acknowledged); err != nil {
		s.Fatalf("the writer printed %q: %v", line, err)
	}
}

// ask sends the first signal to a node, which names the app that it waits for and serves it.
func (s *shutdown) ask(n *node, app *background) {
	s.Helper()
	n.signal(syscall.SIGTERM)
	name := fmt.Sprintf("(pid %d)", app.cmd.Process.Pid)
	n.eventually("its naming "+name, func() error {
		if n.hasEnded() || !isMounted(n.dir) {
			s.Fatalf("%s does not wait for the app that has its files open\n%s", n.name, n.logged())
		}
		if !strings.Contains(n.logged(), name) {
			return fmt.Errorf("it has not")
		}
		return nil
	})
}

// ended requires that the node ends with an exit code, and leaves nothing.
func (s *shutdown) ended(n *node, code int) {
	s.Helper()
	if got := n.exitCode(); got != code {
		s.Errorf("%s: got exit code %d, want %d\n%s", n.name, got, code, n.logged())
	}
	if isMounted(n.dir) {
		s.Errorf("%s: %s is still mounted", n.name, n.dir)
	}
	if isGuard(s.guards[n]) {
		s.Errorf("%s: its guard, process %d, is still there", n.name, s.guards[n])
	}
}

// endReader requires that the reader got answers, and none that is wrong.
func (s *shutdown) endReader() {
	s.Helper()
	s.reader.stdin.Close()
	good := 0
	for _, a := range s.reader.answers(s.T) {
		if good += a.Good; a.Error != "" && !a.Clean {
			s.Errorf("the reader got: %s", a.Error)
		}
	}
	if text := s.reader.errs.String(); text != "" || good == 0 {
		s.Errorf("the reader got %d answers: %s", good, text)
	}
}

// endWriter waits for the writer's end and returns what it complained of.
func (s *shutdown) endWriter() string {
	s.Helper()
	for _, line := range s.writer.reap() {
		s.read(line)
	}
	return strings.TrimSpace(s.writer.errs.String())
}

// SIGTERM comes while apps write and read as fast as they can. Weir serves them for as long as they have files open.
// Then nothing of weir is left, the files have all that was acknowledged, the log has what the files have, and after
// the next start, which does not read the database, the replica goes on by position.
func TestStoppedUnderLoad(t *testing.T) {
	skipRaced(t)
	for _, tt := range []struct {
		name, mode, pragmas string
		killed              bool // the writer, and so the WAL stays
	}{
		{"WAL", "WAL", "", false},
		{"WAL that stays", "WAL", "", true},
		{"DELETE", "DELETE", "", false},
		{"PERSIST", "PERSIST", "PRAGMA synchronous = OFF", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShutdown(t, tt.mode, tt.pragmas)
			s.ask(s.primary, s.writer)
			s.ask(s.replica, s.reader.background)
			s.written(5)
			s.endReader()
			s.ended(s.replica, 0)
			if s.written(5); tt.killed {
				s.writer.sigkill()
			} else {
				s.writer.stdin.Close()
			}
			if text := s.endWriter(); text != "" {
				t.Errorf("the writer got: %s", text)
			}
			s.ended(s.primary, 0)
			last := s.whole()
			s.again(s.primary)
			if got := s.primary.pos(); got != last.String() {
				t.Errorf("the primary starts at %s, want %s as it has ended", got, last)
			}
			s.again(s.replica)
			awaitEqual(t, s.primary, s.replica)
			if n := snapshots(s.replica); n != 0 {
				t.Errorf("the replica took pages %d times, want that it goes on by position", n)
			}
		})
	}
}

// again starts a node after a clean end.
func (s *shutdown) again(n *node) {
	s.Helper()
	n.start()
	got := bytesRead(s.T, n)
	s.Logf("%s: %d bytes read", n.name, got)
	if got > shutdownSize/4 {
		s.Errorf("%s: the start after a clean end read %d bytes, want much less than the database's %d", n.name, got, shutdownSize)
	}
}

// whole requires that the primary's files have what was acknowledged and their log leads to it, and returns its end. It
// looks at copies, for the files are to stay as they are.
func (s *shutdown) whole() stream.Pos {
	s.Helper()
	dir := s.copied()
	last := logEnd(s.T, filepath.Join(dir, ".weir", "db"))
	s.has(filepath.Join(dir, "db"))
	shell(s.T, filepath.Join(dir, "db"), "PRAGMA wal_checkpoint(TRUNCATE)")
	pages, err := os.ReadFile(filepath.Join(dir, "db"))
	if err != nil {
		s.Fatal(err)
	}
	const size = 4096
	sums := stream.NewSums(size)
	for at := 0; at < len(pages); at += size {
		pgno := uint32(at/size) + 1
		sums.Set(pgno, stream.PageSum(pgno, pages[at:at+size]))
	}
	if got := sums.Total(); got != last.PostApplyChecksum {
		s.Errorf("the log ends at %s, the database has the checksum %s", last, got)
	}
	return last
}

// copied is a copy of the primary's directory.
func (s *shutdown) copied() string {
	s.Helper()
	dir := filepath.Join(s.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(s.primary.dir)); err != nil {
		s.Fatal(err)
	}
	return dir
}

// has requires that a database has what was acknowledged, and at most the one transaction that was under way.
func (s *shutdown) has(db string) {
	s.Helper()
	out, err := tryCommand("sql", db, "SELECT n, (SELECT n FROM writer) FROM proof")
	n, proven, _ := strings.Cut(out, "|")
	got, nErr := strconv.ParseInt(n, 10, 64)
	if err != nil || nErr != nil || n != proven || got != s.acknowledged && got != s.acknowledged+1 {
		s.Errorf("got %q transactions (%v), want the %d that were acknowledged, or one more", out, err, s.acknowledged)
	}
}

// logEnd is the end of the log in a directory that weir does not use.
func logEnd(t *testing.T, dir string) stream.Pos {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	log, err := stream.OpenLog(root, stream.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	return log.Last()
}

// A second SIGTERM ends weir while apps go on: they get clean errors. What was acknowledged is in the file, nothing of
// weir is left, the log has all that the replica has, and after the next start that goes on, in WAL mode by position.
func TestStoppedTwiceUnderLoad(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE", "PERSIST"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := newShutdown(t, mode, "")
			before := snapshots(s.replica)
			s.ask(s.primary, s.writer)
			s.written(5)
			s.primary.signal(syscall.SIGTERM)
			s.ended(s.primary, exitFailure)
			if text := s.endWriter(); !slices.ContainsFunc(cleanErrors, func(e string) bool { return strings.Contains(text, e) }) {
				t.Errorf("the writer got: %s, want an error that says that it can't reach the database", text)
			}
			s.replica.awaitStatus("the primary's end", func(st stream.Status) bool { s.pos = st.Pos; return !st.Connected })
			if last := logEnd(t, filepath.Join(s.copied(), ".weir", "db")); last.TXID < s.pos.TXID {
				t.Errorf("the log ends at %s, and the replica has %s", last, s.pos)
			}
			s.primary.start()
			s.has(s.primary.db)
			awaitEqual(t, s.primary, s.replica)
			// In other modes the app may still have removed its journal, or zeroed it, whose path led below the mount by then.
			if got := snapshots(s.replica); got != before && mode == "WAL" {
				t.Errorf("the replica took pages %d times, want that it goes on by position", got-before)
			}
			s.ask(s.replica, s.reader.background)
			s.replica.signal(syscall.SIGTERM)
			s.ended(s.replica, exitFailure)
			s.endReader()
		})
	}
}
