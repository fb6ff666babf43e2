package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel refuses every change on a replica's mount, and nothing has changed after the attempts.
func TestReplicaIsReadOnly(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	before := image(t, replica.db)
	for _, tt := range []struct{ name, script string }{
		{"touch", `touch "$1"`},
		{"touch a new file", `touch "$1.new"`},
		{"rm", `rm -f "$1"`},
		{"rm the WAL", `rm -f "$1-wal"`},
		{"mv", `mv "$1" "$1.new"`},
		{"mv over it", `mv "$1-wal" "$1"`},
		{"chmod", `chmod 600 "$1"`},
		{"chown", `chown 1 "$1"`},
		{"truncate", `truncate -s 0 "$1"`},
		{"open for writing", `: <>"$1"`},
		{"open for appending", `: >>"$1"`},
		{"open and truncate", `: >"$1"`},
		{"write the WAL", `: >>"$1-wal"`},
		{"write the wal-index", `: >>"$1-shm"`},
		{"mkdir", `mkdir "$1.dir"`},
		{"ln", `ln "$1" "$1.new"`},
		{"ln -s", `ln -s "$1" "$1.new"`},
		{"mkfifo", `mkfifo "$1.fifo"`},
		{"setfattr", `python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.x", b"1")' "$1"`},
		{"cp", `cp /etc/passwd "$1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "Read-only file system"
			if asUser() && tt.name == "chown" {
				want = "Operation not permitted" // says the kernel before it asks
			}
			out, err := tryCommand("sh", "-c", tt.script, "sh", replica.db)
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("got %v, %q, want %s", err, out, want)
			}
		})
	}
	if err := unix.Access(replica.db, unix.W_OK); err != unix.EROFS && !asUser() { // whose mount is writable, to the kernel
		t.Errorf("access for writing: got %v, want EROFS", err)
	}
	if _, err := comparePages(before, image(t, replica.db)); err != nil {
		t.Errorf("the replica has changed: %v", err)
	}
}

func TestMountOptions(t *testing.T) {
	primary, replica := startPair(t)
	for n, want := range map[*node]string{primary: "rw", replica: "ro"} {
		fields := mountLine(t, n.dir)
		if !strings.HasPrefix(fields[2], "fuse") {
			t.Errorf("%s: got file system type %s, want fuse", n.name, fields[2])
		}
		if options := strings.Split(fields[3], ","); options[0] != want {
			t.Errorf("%s: got options %s in /proc/mounts, want %s first", n.name, fields[3], want)
		}
	}
}

// mountLine returns the fields of dir's line in /proc/mounts.
func mountLine(t *testing.T, dir string) []string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[1] == dir {
			return fields
		}
	}
	t.Fatalf("%s is not in /proc/mounts", dir)
	return nil
}

// Programs that open the replica as they open any database can read it and get SQLite's own words for a write, in
// whatever journal mode the primary is, and whether or not others read.
func TestClientsOnReplica(t *testing.T) {
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			primary, replica := startPair(t)
			shell(t, primary.db, "PRAGMA journal_mode = "+mode+";"+auditSchema+strings.Repeat(auditStep, 3))
			awaitEqual(t, primary, replica)
			t.Run("alone", func(t *testing.T) { tryClients(t, replica.db) })
			reader := startBackground(t, "audit", replica.db)
			reader.next()
			t.Run("beside a reader", func(t *testing.T) { tryClients(t, replica.db) })
			reader.finish()
		})
	}
}

func tryClients(t *testing.T, db string) {
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			if got := mustCommand(t, c.args(db, "SELECT n FROM counter")...); got != "3" {
				t.Errorf("got %q, want 3", got)
			}
			if got := mustCommand(t, c.args(db, "PRAGMA integrity_check")...); got != "ok" {
				t.Errorf("integrity_check: got %q, want ok", got)
			}
			for _, write := range []string{
				"UPDATE counter SET n = 7",
				"INSERT INTO item (v) VALUES (1)",
				"CREATE TABLE mine (x)",
				"DELETE FROM proof",
				"VACUUM",
				"PRAGMA user_version = 3",
			} {
				refused(t, c, db, write)
			}
		})
	}
}

// refused requires a write to fail as on any read-only database.
func refused(t *testing.T, c client, db, write string) {
	t.Helper()
	out, err := tryCommand(c.args(db, write)...)
	if err == nil || !strings.Contains(out, "attempt to write a readonly database") {
		t.Errorf("%s: got %v, %q, want attempt to write a readonly database", write, err, out)
	}
	for _, bad := range []string{"disk I/O error", "locking protocol", "malformed", "unable to open"} {
		if strings.Contains(out, bad) {
			t.Errorf("%s: got %q, which has %q", write, out, bad)
		}
	}
}

// Before its first snapshot a replica shows that there is no database, and it can't be created.
func TestEmptyReplica(t *testing.T) {
	primary := newPrimary(t)
	replica := newReplica(t, primary)
	replica.start()
	for _, c := range clients() {
		out, err := tryCommand(c.args(replica.db, "CREATE TABLE t (x)")...)
		if err == nil || !strings.Contains(out, "unable to open database file") {
			t.Errorf("%s: got %v, %q, want unable to open database file", c.name, err, out)
		}
	}
}

// A replica can be read by users other than weir's.
func TestReplicaForOthers(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, "PRAGMA journal_mode = WAL;"+auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	for range 3 { // with the wal-index as the reader before left it
		cmd := command("sqlite3", replica.db, "SELECT n FROM counter; PRAGMA integrity_check")
		replica.asNobody(cmd)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "1\nok\n" {
			t.Errorf("as nobody: got %v, %q, want 1 and ok", err, out)
		}
	}
}
