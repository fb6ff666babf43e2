package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/stream"
)

// weirCommand runs the binary and returns what it printed, both streams together, and its exit code.
func weirCommand(args ...string) (out string, code int) {
	cmd := command(append([]string{weirBinary}, args...)...)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// startAsked starts a primary, and a replica of it that serves nothing, whose directory has a name that is too long for a
// socket's.
func startAsked(t *testing.T) (primary, replica *node) {
	t.Helper()
	primary = newPrimary(t)
	primary.start()
	dir := filepath.Join(t.TempDir(), strings.Repeat("r", 100))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	replica = newNodeAt(t, "replica", dir)
	replica.addr = ""
	replica.configure("dbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n", replica.db, primary.addr, primary.db)
	replica.start()
	return primary, replica
}

// asked is what weir status -json says of a database by flags.
func asked(n *node, flags ...string) (s stream.Status, code int, err error) {
	cmd := command(append([]string{weirBinary, "status", "-json"}, flags...)...)
	out, _ := cmd.Output() // its exit code says so
	code = cmd.ProcessState.ExitCode()
	var all []stream.Status
	if err := json.Unmarshal(out, &all); err != nil {
		return s, code, fmt.Errorf("%w: %s", err, out)
	}
	for _, s := range all {
		if s.Path == n.db {
			return s, code, nil
		}
	}
	return s, code, fmt.Errorf("got %s, want %s in it", out, n.db)
}

// TestStatusAsked asks daemons in every way there is, by every user.
func TestStatusAsked(t *testing.T) {
	primary, replica := startAsked(t)
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(replica.dir, link); err != nil {
		t.Fatal(err)
	}
	for _, flags := range [][]string{{"-db", replica.db}, {"-config", replica.conf}, {}} {
		replica.eventually(fmt.Sprintf("a healthy status by %q", flags), func() error {
			s, code, err := asked(replica, flags...)
			if err == nil && (s.Role != stream.RoleReplica || code != 0 && len(flags) > 0) { // others may not be well
				err = fmt.Errorf("got %+v and exit code %d", s, code)
			}
			return err
		})
	}
	if s, code, err := asked(primary, "-addr", primary.addr); err != nil || code != 0 || s.Role != stream.RolePrimary {
		t.Errorf("primary by its address: got %+v, exit code %d, %v", s, code, err)
	}
	if out, code := weirCommand("status", "-db", filepath.Join(link, "db")); code != 1 || !strings.Contains(out, "does not know") {
		t.Errorf("by another path of the directory: got exit code %d and %s", code, out)
	}

	primary.stop()
	replica.eventually("exit code 3", func() error {
		out, code := weirCommand("status", "-db", replica.db)
		if code != exitNot || !strings.Contains(out, "not connected") {
			return fmt.Errorf("got exit code %d and %s", code, out)
		}
		return nil
	})
	for _, flags := range [][]string{{"-db", primary.db}, {"-addr", primary.addr}} {
		out, code := weirCommand(append([]string{"status"}, flags...)...)
		if code != exitFailure || !strings.Contains(out, "hint: ") {
			t.Errorf("status %q without weir: got exit code %d and %s", flags, code, out)
		}
	}
}

// TestStatusForOthers asks as a user without rights, before and after that user owns the database.
func TestStatusForOthers(t *testing.T) {
	n := newPrimary(t)
	n.start()
	shell(t, n.db, auditSchema)
	status := func() (string, error) {
		cmd := command(weirBinary, "status", "-db", n.db)
		n.asNobody(cmd)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := status(); err == nil || !strings.Contains(out, "403") {
		t.Errorf("a stranger: got %v and %s, want 403", err, out)
	}
	if err := os.Chown(n.db, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if out, err := status(); err != nil || !strings.Contains(out, n.db) {
		t.Errorf("the owner: got %v and %s", err, out)
	}
}
