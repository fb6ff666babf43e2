package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// cat is what a file says, read by a command: no test touches a mount by itself.
func cat(file string) string {
	out, err := command("cat", file).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return string(out)
}

// TestPositionFile writes and asks at once: the answer has the write.
func TestPositionFile(t *testing.T) {
	primary, replica := startPair(t)
	for _, mode := range []string{"wal", "delete", "persist"} {
		shell(t, primary.db, "PRAGMA journal_mode="+mode+"; CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1);")
		// One process writes, and reads the file by the descriptor that it has kept.
		out := mustCommand(t, "python3", "-c", `
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
fd = os.open(sys.argv[1] + "-pos", os.O_RDONLY)
for i in range(20):
    before = os.pread(fd, 100, 0)
    db.execute("INSERT INTO t VALUES(?)", (i,))
    after = os.pread(fd, 100, 0)
    txid = lambda pos: int(pos[:16], 16)
    if txid(after) != txid(before) + 1:
        print("write", i, "went from", before, "to", after)
    if open(sys.argv[1] + "-pos", "rb", buffering=0).read(5) + os.pread(fd, 100, 5) != after:
        print("read in pieces it differs from", after)
`, primary.db)
		if out != "" {
			t.Errorf("journal_mode=%s: %s", mode, out)
		}
	}
	awaitEqual(t, primary, replica)
	want := cat(primary.db + "-pos")
	if st, err := primary.status(); err != nil || want != st.Pos.String()+"\n" || !regexp.MustCompile(`^[0-9a-f]{16}/[0-9a-f]{16}\n$`).MatchString(want) {
		t.Errorf("got position %q, want that of %+v, %v", want, st, err)
	}
	if got := cat(replica.db + "-pos"); got != want {
		t.Errorf("replica: got position %q, want %q", got, want)
	}
}

// TestVirtualFiles looks at all that there are: what they say, and that they are nowhere in the way.
func TestVirtualFiles(t *testing.T) {
	primary := newPrimary(t)
	own := primary.db + "-pos"
	if err := os.WriteFile(own, []byte("an app's own\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	primary.start()
	replica := newReplica(t, primary)
	shell(t, primary.db, auditSchema)
	replica.start()
	awaitEqual(t, primary, replica)

	file := func(n *node, name string) string { return filepath.Join(n.dir, name) }
	replica.eventually("no lag", func() error {
		if got := cat(file(replica, ".lag")); got != "+000000000\n" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	for name, want := range map[string]string{
		own:                         "an app's own\n",
		file(primary, ".lag"):       "+000000000\n",
		file(replica, ".primary"):   "http://" + primary.addr + "\n",
		file(primary, "no-pos"):     "exit status 1: cat: " + file(primary, "no-pos") + ": No such file or directory\n",
		file(replica, ".lag/x"):     "exit status 1: cat: " + file(replica, ".lag/x") + ": Not a directory\n",
		file(replica, ".weir/lock"): "exit status 1: cat: " + file(replica, ".weir/lock") + ": No such file or directory\n",
	} {
		if got := cat(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	mustCommand(t, "rm", own)
	if got := cat(own); len(got) != 34 {
		t.Errorf("after the end of an app's own: got %q", got)
	}
	if got := cat(file(primary, ".primary")); !strings.Contains(got, "No such file") {
		t.Errorf("a primary's .primary: got %q, want none", got)
	}
	for _, n := range []*node{primary, replica} {
		if got := mustCommand(t, "ls", "-A", n.dir); strings.Contains(got, "-pos") || strings.Contains(got, ".lag") || strings.Contains(got, ".primary") {
			t.Errorf("%s: they are listed in\n%s", n.name, got)
		}
		for _, script := range []string{`echo x > "$1"`, `rm "$1"`, `mv "$1" "$1.new"`} {
			if out, err := tryCommand("sh", "-c", script, "sh", n.db+"-pos"); err == nil {
				t.Errorf("%s: %s: got %q, want it refused", n.name, script, out)
			}
		}
		if got := mustCommand(t, "stat", "-c", "%a %s", n.db+"-pos"); got != "444 34" {
			t.Errorf("%s: got mode and size %s of the position", n.name, got)
		}
	}
	// A file that comes later goes before, too.
	mustCommand(t, "sh", "-c", `echo real > "$1.tmp" && mv "$1.tmp" "$1"`, "sh", primary.db+"-pos")
	if got := cat(primary.db + "-pos"); got != "real\n" {
		t.Errorf("a file of that name: got %q", got)
	}
	mustCommand(t, "rm", primary.db+"-pos")
	if got := cat(primary.db + "-pos"); len(got) != 34 {
		t.Errorf("after its end: got %q", got)
	}
	primary.stop()
	replica.eventually("a lag", func() error {
		if got := cat(file(replica, ".lag")); len(got) != 11 || got <= "+000001000" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

// TestLagFileBeforeSnapshot has a replica that shows nothing yet say so.
func TestLagFileBeforeSnapshot(t *testing.T) {
	replica := newReplica(t, newPrimary(t))
	replica.start()
	if got := cat(filepath.Join(replica.dir, ".lag")); got != "+2147483647\n" {
		t.Errorf("got lag %q", got)
	}
	if got := cat(replica.db + "-pos"); got != strings.Repeat("0", 16)+"/"+strings.Repeat("0", 16)+"\n" {
		t.Errorf("got position %q", got)
	}
}
