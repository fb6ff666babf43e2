package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

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
