package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// url is where the node serves its database.
func (n *node) url() string { return "http://" + n.addr + n.db }

// weirOutput runs weir in a process of its own and returns what it prints to standard output. It must go well.
func weirOutput(t *testing.T, args ...string) string {
	t.Helper()
	out, stderr, err := tryWeir(args...)
	if err != nil {
		t.Fatalf("weir %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return out
}

func tryWeir(args ...string) (stdout, stderr string, err error) {
	cmd := command(append([]string{weirBinary}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// auditFile checks a database file that no weir has, and returns how many transactions it has.
func auditFile(t *testing.T, file string) string {
	t.Helper()
	got := shell(t, file, "PRAGMA integrity_check; SELECT counter.n = proof.n AND proof.total = (SELECT coalesce(sum(v), 0) FROM item) FROM counter, proof; SELECT n FROM counter;")
	n, ok := strings.CutPrefix(got, "ok\n1\n")
	if !ok {
		t.Fatalf("%s: got %q, want a state that was committed", file, got)
	}
	return n
}

// ballast makes a table of about so many pages, which take a while to read.
func ballast(pages int) string {
	return fmt.Sprintf("CREATE TABLE ballast AS WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT randomblob(4000) AS v FROM n;", pages)
}

// Copies of a database that is written to all the time are states that it was in, on both sides.
func TestSnapshotCommand(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			primary, replica := startPair(t)
			shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+auditSchema+ballast(2000))
			awaitEqual(t, primary, replica)
			script := primary.conf + ".sql"
			if err := os.WriteFile(script, []byte(strings.Repeat(auditStep, 3000)), 0o644); err != nil {
				t.Fatal(err)
			}
			writer := startBackground(t, "sqlite3", "-bail", "-cmd", ".timeout 10000", primary.db, ".read "+script)
			dir := t.TempDir()
			for i, n := range []*node{primary, replica, primary, replica} {
				file := filepath.Join(dir, fmt.Sprint(i))
				weirOutput(t, "snapshot", "-o", file, []string{n.url(), n.db}[i%2])
				auditFile(t, file)
			}
			writer.kill()
			shell(t, primary.db, auditStep) // rolls back what the writer has not finished
			awaitEqual(t, primary, replica)
			want := image(t, primary.db)
			for _, n := range []*node{primary, replica} {
				out := weirOutput(t, "snapshot", n.url())
				if _, err := comparePages(want, []byte(out)); err != nil {
					t.Errorf("%s, to standard output: %v", n.name, err)
				}
			}
		})
	}
}

// What can't be a copy leaves nothing behind, and what was there as it was.
func TestSnapshotRefused(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	dir := t.TempDir()
	file := filepath.Join(dir, "copy")
	try := func(want string, args ...string) {
		t.Helper()
		before := listFiles(t, dir)
		_, stderr, err := tryWeir(append([]string{"snapshot"}, args...)...)
		if err == nil || !strings.Contains(stderr, want) {
			t.Errorf("%q: got %v, %q, want %q", args, err, stderr, want)
		}
		if after := listFiles(t, dir); after != before {
			t.Errorf("%q: got files %q, before %q", args, after, before)
		}
	}
	try("there is no database yet", "-o", file, primary.url())
	shell(t, primary.db, auditSchema)
	try("no database /no/db is served here", "-o", file, "http://"+primary.addr+"/no/db")
	try("hint: start weir there", "-o", file, "http://127.0.0.1:1/db")
	try("give one database or URL", "-o", file)
	weirOutput(t, "snapshot", "-o", file, "http://"+primary.addr) // the only one that it serves
	try("hint: choose another file, or replace it with -force", "-o", file, primary.url())
	shell(t, primary.db, auditStep)
	weirOutput(t, "snapshot", "-force", "-o", file, primary.url())
	if got := auditFile(t, file); got != "1" {
		t.Errorf("got a copy of transaction %s, want 1", got)
	}
	if err := os.WriteFile(file+"-wal", []byte("what another database left"), 0o600); err != nil {
		t.Fatal(err)
	}
	try("SQLite would take", "-force", "-o", file, primary.url())
}

// Who is told to stop leaves nothing behind.
func TestSnapshotStopped(t *testing.T) {
	silent, err := net.Listen("tcp", net.JoinHostPort(ownIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dir := t.TempDir()
	cmd := command(weirBinary, "snapshot", "-o", filepath.Join(dir, "copy"), "http://"+silent.Addr().String()+"/db")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); listFiles(t, dir) == "[]"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Error("it has not begun")
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFailure {
		t.Errorf("got %v, want exit code %d", err, exitFailure)
	}
	if got := listFiles(t, dir); got != "[]" {
		t.Errorf("left behind: %s", got)
	}
}

func listFiles(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(files)
}

// exitCodeOf is the exit code of a command that ended with err.
func exitCodeOf(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}
