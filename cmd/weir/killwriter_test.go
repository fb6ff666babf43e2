package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// acknowledger is a writer, and what it said of its transactions.
type acknowledger struct {
	*background
	id           int64
	acknowledged int64 // once it has ended
}

// dbMoved is SQLITE_READONLY_DBMOVED as a child prints it. A writer in DELETE mode with synchronous=EXTRA gets it now and
// then as it starts, once in some fifty rounds: it has written nothing then. Why is not known.
const dbMoved = "(code 1032,"

// startWriters starts the round's writers and returns at a moment at which they are at work.
func (k *killing) startWriters() {
	k.t.Helper()
	locking, n := "NORMAL", 2
	if k.rnd.IntN(5) == 0 {
		locking, n = "EXCLUSIVE", 1
	}
	k.pragmas = fmt.Sprintf("PRAGMA locking_mode = %s; PRAGMA synchronous = %s; PRAGMA cache_size = %d; PRAGMA wal_autocheckpoint = %d",
		locking, draw(k.rnd, "OFF", "NORMAL", "FULL", "EXTRA"), 5+k.rnd.IntN(200), 1+k.rnd.IntN(200))
	k.writers = nil
	var loads []string
	for i := range n {
		id := int64(k.round*2 + i)
		l := load{Writer: id, Seed: k.rnd.Uint64(), DBs: []ledger{{Path: k.primary.db, Pragmas: k.pragmas, Modes: []string{k.mode}, MaxItems: 200, NoRollback: k.mode == "OFF"}}}
		loads = append(loads, asJSON(l))
		k.writers = append(k.writers, &acknowledger{background: startBackground(k.t, "load", loads[i]), id: id})
	}
	k.primary.eventually("a transaction of each writer", func() error {
		for i, w := range k.writers {
			if text := w.errs.String(); strings.Contains(text, dbMoved) {
				k.t.Logf("round %d, with %s: %s", k.round, k.pragmas, text)
				w.reap()
				k.writers[i] = &acknowledger{background: startBackground(k.t, "load", loads[i]), id: w.id}
				return fmt.Errorf("writer %d was told that its database has moved, and begins again", w.id)
			} else if text != "" {
				k.t.Fatalf("writer %d, with %s: %s", w.id, k.pragmas, text)
			}
			if len(w.lines) == 0 {
				return fmt.Errorf("writer %d has not committed", w.id)
			}
		}
		return nil
	})
	time.Sleep(time.Duration(k.rnd.IntN(300)) * time.Millisecond)
}

// sigkill kills the child, which may have ended. What it printed is there to be read.
func (b *background) sigkill() {
	b.killed = true
	b.cmd.Process.Kill()
}

// reap waits for the child's end and returns what it printed. Its exit code is in cmd.ProcessState.
func (b *background) reap() (lines []string) {
	for line := range b.lines {
		lines = append(lines, line)
	}
	b.ended = true
	b.cmd.Wait() // read from ProcessState
	return lines
}

// cleanErrors are what SQLite says where a file can't be opened, read or written, before the system's reason; and where
// it can't look, before it begins a journal, whether its database is still at its path.
var cleanErrors = []string{"disk I/O error", "unable to open database file", dbMoved}

// endWriters ends the writers: those that could not go on are killed, the others end by themselves.
func (k *killing) endWriters(v victim) {
	k.t.Helper()
	for _, w := range k.writers {
		if v.primary || v.apps {
			w.sigkill()
		} else {
			w.stdin.Close()
		}
	}
	for _, w := range k.writers {
		for _, line := range w.reap() {
			if _, err := fmt.Sscanf(line, "0 %d", &w.acknowledged); err != nil {
				k.t.Fatalf("writer %d printed %q: %v", w.id, line, err)
			}
		}
		text := strings.TrimSpace(w.errs.String())
		clean := v.primary && slices.ContainsFunc(cleanErrors, func(s string) bool { return strings.Contains(text, s) })
		if text != "" && !clean {
			k.t.Errorf("writer %d, with %s: %s", w.id, k.pragmas, text)
		}
		if code := w.cmd.ProcessState.ExitCode(); code != 0 && !v.primary && !v.apps {
			k.t.Errorf("writer %d: got exit code %d, want 0: %s", w.id, code, text)
		}
	}
}

// checkCommitted requires each transaction that SQLite acknowledged, and at most one more of each writer: the one that
// was under way.
func (k *killing) checkCommitted() {
	k.t.Helper()
	if err := k.audit(); err != nil {
		k.t.Fatalf("after round %d, with %s: %v", k.round, k.pragmas, err)
	}
	found := make(map[int64]int64)
	for line := range strings.Lines(mustCommand(k.t, "sql", k.primary.db, "SELECT id, n FROM writer")) {
		var id, n int64
		if _, err := fmt.Sscanf(line, "%d|%d", &id, &n); err != nil {
			k.t.Fatalf("got the row %q: %v", line, err)
		}
		found[id] = n
	}
	for id, n := range k.committed {
		if found[id] != n {
			k.t.Errorf("writer %d: got %d transactions, want %d as before", id, found[id], n)
		}
	}
	for _, w := range k.writers {
		if n := found[w.id]; n != w.acknowledged && n != w.acknowledged+1 {
			k.t.Errorf("writer %d, with %s: got %d transactions, want the %d that were acknowledged, or one more", w.id, k.pragmas, n, w.acknowledged)
		}
	}
	k.committed = found
}

// audit audits the primary's database once.
func (k *killing) audit() error {
	r := &auditor{background: startBackground(k.t, "audits", asJSON(audits{DBs: []string{k.primary.db}, Once: true}))}
	defer r.kill()
	answers := r.answers(k.t)
	if len(answers) != 1 || answers[0].Good != 1 {
		return fmt.Errorf("%s: %+v %s", k.primary.db, answers, r.errs.String())
	}
	return nil
}

// busyPID is a process that a BusyError names. To fusermount3 there is no mount for a moment, in which it may open the files.
var busyPID = regexp.MustCompile(`is in use by process (.*?): it (still has files open|opened the database before)`)

// revive starts a node that was killed. Where weir says that processes have files open on its dead mount, those must be
// apps of this test; they are ended, and it is started again.
func (k *killing) revive(n *node) (named bool) {
	k.t.Helper()
	for {
		n.spawn(weirBinary, "mount", "-config", n.conf)
		n.within(6*patience, "its start or end", func() error {
			if n.hasEnded() || strings.Contains(n.logged(), "msg=serving") {
				return nil
			}
			return fmt.Errorf("neither")
		})
		if !n.hasEnded() {
			return named
		}
		m := busyPID.FindStringSubmatch(n.logged())
		if m == nil {
			k.t.Fatalf("%s does not start:\n%s", n.name, n.logged())
		}
		named = true
		for who := range strings.SplitSeq(m[1], ", ") {
			k.endNamed(n, who)
		}
	}
}

// endNamed ends an app that a BusyError names as "PID (COMMAND)".
func (k *killing) endNamed(n *node, who string) {
	k.t.Helper()
	digits, _, _ := strings.Cut(who, " ")
	pid, err := strconv.Atoi(digits)
	if err != nil {
		k.t.Fatalf("%s names %q: %v", n.name, who, err)
	}
	apps := []*background{}
	for _, w := range k.writers {
		apps = append(apps, w.background)
	}
	for _, r := range k.readers {
		apps = append(apps, r.background)
	}
	i := slices.IndexFunc(apps, func(b *background) bool { return b.cmd.Process.Pid == pid })
	if i < 0 {
		k.t.Fatalf("%s names %q, which is none of the apps", n.name, who)
	}
	apps[i].sigkill()
}

// unjournaled says that SQLite promises nothing after a death within a transaction, of an app or of what it writes to.
func (k *killing) unjournaled() bool { return k.mode == "MEMORY" || k.mode == "OFF" }

// checkUnjournaled requires no more than that the replica has what the primary has, right or wrong. A database that is
// broken is made anew.
func (k *killing) checkUnjournaled(broken time.Time) {
	k.t.Helper()
	k.endReaders(broken)
	compareRecords(k.t, k.streams[0], k.streams[1])
	if _, err := tryCommand("weir", workerName, "check", k.primary.db, filepath.Join(k.t.TempDir(), "image")); err == nil && k.audit() == nil {
		k.checkCommitted()
	} else {
		k.rebuilt++
		mustCommand(k.t, "rm", "-f", k.primary.db, k.primary.db+"-journal")
		shell(k.t, k.primary.db, ledgerSchema)
		clear(k.committed)
	}
	awaitEqual(k.t, k.primary, k.replica)
	k.startReaders()
}
