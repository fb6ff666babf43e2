package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// SIGTERM comes while apps commit as fast as they can, and they don't end for it: a second one ends weir anyway. What
// was acknowledged is in the file, nothing of weir is left, and after the next start the replica goes on by position.
func TestStoppedUnderLoad(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE", "PERSIST"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			primary, replica := startPair(t)
			shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+ledgerSchema)
			awaitEqual(t, primary, replica)
			before := snapshots(replica)
			l := load{Seed: uint64(os.Getpid()), DBs: []ledger{{Path: primary.db, Modes: []string{mode}, MaxItems: 200}}}
			writer := startBackground(t, "load", asJSON(l))
			for range 20 {
				writer.next()
			}
			primary.signal(syscall.SIGTERM)
			primary.awaitLog(fmt.Sprintf("(pid %d)", writer.cmd.Process.Pid))
			for range 5 { // the app is served as long as weir waits for it
				writer.next()
			}
			primary.signal(syscall.SIGTERM)
			if code := primary.exitCode(); code != exitFailure {
				t.Errorf("got exit code %d, want %d\n%s", code, exitFailure, primary.logged())
			}
			if isMounted(primary.dir) {
				t.Errorf("%s is still mounted", primary.dir)
			}
			writer.sigkill()
			acknowledged := int64(25)
			for _, line := range writer.reap() {
				fmt.Sscanf(line, "0 %d", &acknowledged)
			}
			primary.start()
			n, err := strconv.ParseInt(shell(t, primary.db, "SELECT n FROM proof"), 10, 64)
			if err != nil || n != acknowledged && n != acknowledged+1 {
				t.Errorf("got %d transactions (%v), want the %d that were acknowledged, or one more", n, err, acknowledged)
			}
			awaitEqual(t, primary, replica)
			if got := snapshots(replica); got != before && mode == "WAL" {
				t.Errorf("the replica took pages %d times, want that it goes on by position", got-before)
			}
		})
	}
}

// A start after a clean end does not read the database.
func TestRestartReadsNoDatabase(t *testing.T) {
	const size = 16 << 20
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			primary, replica := startPair(t)
			fill := fmt.Sprintf("CREATE TABLE big (x); WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO big SELECT zeroblob(1 << 20) FROM n;", size>>20)
			shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+auditSchema+fill+auditStep)
			awaitEqual(t, primary, replica)
			for _, n := range []*node{replica, primary} {
				n.stop()
			}
			for _, n := range []*node{primary, replica} {
				n.start()
				got := bytesRead(t, n)
				t.Logf("%s: %d bytes read", n.name, got)
				if got > size/4 {
					t.Errorf("%s: the start after a clean end read %d bytes, want much less than the database's %d", n.name, got, size)
				}
			}
			shell(t, primary.db, auditStep)
			awaitEqual(t, primary, replica)
			if n := snapshots(replica); n != 0 {
				t.Errorf("the replica took pages %d times, want that it goes on by position", n)
			}
		})
	}
}

// bytesRead is how many bytes the node's process has read by system calls (proc(5), io).
func bytesRead(t *testing.T, n *node) int64 {
	t.Helper()
	io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut("\n"+string(io), "\nrchar: ")
	got, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
