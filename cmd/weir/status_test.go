package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/stream"
)

// startReader starts a sqlite3 shell that has a read transaction open on db, and returns its process id.
func startReader(t *testing.T, db string) (pid int) {
	t.Helper()
	cmd := command("sqlite3", "-bail", db)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	io.WriteString(in, "BEGIN;\nSELECT 'reading', count(*) FROM t;\n")
	line := make([]byte, 64)
	if n, err := out.Read(line); err != nil || !strings.Contains(string(line[:n]), "reading") {
		t.Fatalf("the reader says %q, %v", line[:n], err)
	}
	return cmd.Process.Pid
}

// TestStatusSays looks for each thing that a status says, on both sides, and in the table.
func TestStatusSays(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(9000));")
	shell(t, primary.db, "INSERT INTO t VALUES(1);")
	awaitEqual(t, primary, replica)
	readers := map[*node]int{primary: startReader(t, primary.db), replica: startReader(t, replica.db)}
	for range 5 {
		shell(t, primary.db, "INSERT INTO t VALUES(zeroblob(9000));")
	}
	awaitEqual(t, primary, replica)

	var want stream.Status
	primary.awaitStatus("a follower that has acknowledged all", func(s stream.Status) bool {
		want = s
		return len(s.Streams) == 1 && s.Streams[0].Pos == s.Pos && !s.Streams[0].AckedAt.IsZero() && s.Streams[0].Addr != ""
	})
	replica.awaitStatus("the primary's state", func(s stream.Status) bool {
		return s.Ready && s.Connected && s.Pos == want.Pos && s.UpstreamPos == want.Pos && s.LagTxns == 0 && s.Upstream == "http://"+primary.addr
	})
	for _, n := range []*node{primary, replica} {
		s, err := n.status()
		if err != nil {
			t.Fatal(err)
		}
		if s.LogBytes < 5*9000/100 || s.LogFirst == 0 || s.LogFirst > s.Pos.TXID || s.WAL.Bytes < 5*9000 || !s.Ready {
			t.Errorf("%s: got %+v, want a log, a WAL, and it ready", n.name, s)
		}
		seen := n == replica || os.Getenv("WEIR_PASSTHROUGH") != "off" // or the wal-index is in the mount alone
		w := s.WAL
		if seen && (!w.Held || w.HeldPID != readers[n] || w.HeldCommand != "sqlite3" || w.HeldFrame >= w.Frames || w.Backfilled > w.HeldFrame) {
			t.Errorf("%s: got %+v, want it held by sqlite3 (%d)", n.name, w, readers[n])
		}
		if !seen && w.Held {
			t.Errorf("%s: got %+v, want that it is not known who holds it", n.name, w)
		}
		out, code := weirCommand("status", "-db", n.db)
		for _, part := range []string{n.db, n.name, " ok ", s.Pos.TXID.String(), "from TXID"} {
			if code != 0 || !strings.Contains(out, part) {
				t.Errorf("%s: got exit code %d and no %q in\n%s", n.name, code, part, out)
			}
		}
		if seen && !strings.Contains(out, fmt.Sprintf("by sqlite3 (%d)", readers[n])) {
			t.Errorf("%s: got no reader in\n%s", n.name, out)
		}
	}
	if out, _ := weirCommand("status", "-db", primary.db); !strings.Contains(out, "FOLLOWER") || !strings.Contains(out, want.Streams[0].Addr) {
		t.Errorf("got no follower in\n%s", out)
	}
}

// TestStatusLags stops a replica's process: the primary says how far behind it is.
func TestStatusLags(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, "CREATE TABLE t(x);")
	awaitEqual(t, primary, replica)
	primary.awaitStatus("a follower that has acknowledged all", func(s stream.Status) bool {
		return len(s.Streams) == 1 && s.Streams[0].Pos == s.Pos && !s.Streams[0].AckedAt.IsZero()
	})
	replica.signal(syscall.SIGSTOP)
	resume := sync.OnceFunc(func() { replica.signal(syscall.SIGCONT) })
	defer resume()
	for range 3 {
		shell(t, primary.db, "INSERT INTO t VALUES(1);")
	}
	primary.awaitStatus("a follower that is 3 transactions behind", func(s stream.Status) bool {
		if len(s.Streams) != 1 {
			return false
		}
		f := s.Streams[0]
		return f.LagTxns == 3 && f.Bytes > 0 && f.Lag > 0
	})
	resume()
	primary.awaitStatus("a follower that has caught up", func(s stream.Status) bool {
		return len(s.Streams) == 1 && s.Streams[0].Pos == s.Pos && s.Streams[0].LagTxns == 0
	})
}

// TestStatusGone ends a replica: its primary misses it by name.
func TestStatusGone(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, "CREATE TABLE t(x);")
	awaitEqual(t, primary, replica)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	name := host + ":" + replica.db
	primary.awaitStatus("a follower with a name", func(s stream.Status) bool { return len(s.Streams) == 1 && s.Streams[0].Name == name })
	replica.awaitStatus("the primary above it", func(s stream.Status) bool { return s.Distance == 1 })
	replica.stop()
	primary.awaitStatus("it missed", func(s stream.Status) bool { return len(s.Gone) == 1 && s.Gone[0].Name == name && len(s.Streams) == 0 })
	for _, tt := range []struct {
		flags []string
		code  int
		state string
	}{
		{[]string{"-max-lag", "1ns"}, exitNot, " replica gone "},
		{[]string{"-max-lag", "1h"}, 0, " ok "},                      // it may be restarted
		{[]string{"-max-lag", "1ns", "-max-gone", "2ns"}, 0, " ok "}, // it was removed
	} {
		out, code := weirCommand(append([]string{"status", "-db", primary.db}, tt.flags...)...)
		if code != tt.code || !strings.Contains(out, tt.state) || !strings.Contains(out, "GONE") || !strings.Contains(out, name) {
			t.Errorf("%q: got exit code %d, want %d, %q, and %s gone in\n%s", tt.flags, code, tt.code, tt.state, name, out)
		}
	}
}

// TestStatusOfChain asks a primary for the replica of its replica.
func TestStatusOfChain(t *testing.T) {
	primary, middle := startPair(t)
	last := newNode(t, "last")
	last.follow(middle)
	last.start()
	shell(t, primary.db, "CREATE TABLE t(x);")
	awaitEqual(t, primary, last)
	primary.awaitStatus("a follower's follower that has all", func(s stream.Status) bool {
		return len(s.Streams) == 1 && len(s.Streams[0].Streams) == 1 && s.Streams[0].Streams[0].Pos == s.Pos && !s.Streams[0].Streams[0].AckedAt.IsZero()
	})
	row := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(nameOf(t, last)) + `  +\S+  +` + regexp.QuoteMeta(nameOf(t, middle)) + `  +0000000000000001  +\d+m?s `)
	if out, code := weirCommand("status", "-db", primary.db); code != 0 || !row.MatchString(out) {
		t.Errorf("got exit code %d and no %s that follows %s in\n%s", code, nameOf(t, last), nameOf(t, middle), out)
	}
	last.stop()
	primary.awaitStatus("it missed", func(s stream.Status) bool { return len(s.Streams) == 1 && len(s.Streams[0].Gone) == 1 })
	if out, code := weirCommand("status", "-db", primary.db, "-max-lag", "1ns"); code != exitNot || !strings.Contains(out, " replica gone ") || !strings.Contains(out, "GONE") {
		t.Errorf("got exit code %d and nobody gone in\n%s", code, out)
	}
}

// TestUnhealthy says of each thing that a status may have whether all is well.
func TestUnhealthy(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	gone := func(d time.Duration) stream.Status {
		return stream.Status{Gone: []stream.GoneStream{{Name: "a", At: ago(d)}}}
	}
	follower := func(f stream.StreamStatus) stream.Status { return stream.Status{Streams: []stream.StreamStatus{f}} }
	for _, tt := range []struct {
		s    stream.Status
		want string
	}{
		{stream.Status{}, ""},
		{stream.Status{Upstream: "u"}, "not connected"},
		{stream.Status{LastError: "e"}, "error"},
		{stream.Status{Lag: 10 * time.Second}, ""},
		{stream.Status{Lag: 11 * time.Second}, "behind"},
		{gone(9 * time.Second), ""},
		{gone(11 * time.Second), "replica gone"},
		{gone(24 * time.Hour), "replica gone"},
		{gone(25 * time.Hour), ""},
		{follower(stream.StreamStatus{AckedAt: ago(14 * time.Second)}), ""},
		{follower(stream.StreamStatus{AckedAt: ago(16 * time.Second)}), "replica silent"},
		{follower(stream.StreamStatus{AckedAt: now, Lag: 10 * time.Second}), ""},
		{follower(stream.StreamStatus{AckedAt: now, Lag: 11 * time.Second}), "replica behind"},
		{follower(stream.StreamStatus{Lag: time.Hour}), ""}, // no replica: it never says where it is
		{follower(stream.StreamStatus{AckedAt: now, Streams: []stream.StreamStatus{{AckedAt: now, Lag: 11 * time.Second}}}), "replica behind"},
		{follower(stream.StreamStatus{AckedAt: ago(10 * time.Second), Streams: []stream.StreamStatus{{AckedAt: ago(20 * time.Second)}}}), ""}, // as it was said
		{follower(stream.StreamStatus{AckedAt: ago(time.Second), Gone: []stream.GoneStream{{At: ago(12 * time.Second)}}}), "replica gone"},
	} {
		tt.s.At, tt.s.Ready = now, true
		if got := unhealthy(tt.s, limits{defaultMaxLag, defaultMaxGone}); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.s, got, tt.want)
		}
	}
	if got := unhealthy(stream.Status{}, limits{}); got != "not shown yet" {
		t.Errorf("not ready: got %q", got)
	}
}
