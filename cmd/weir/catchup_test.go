package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/superfly/ltx"

	"weir/stream"
)

// What is shown of a replica: its snapshot, then the transactions that its upstream had when it was first heard of, and no more.
func TestCatchingUp(t *testing.T) {
	at := func(own, upstream stream.TXID) stream.Status {
		return stream.Status{Ready: true, Connected: true, Pos: ltx.Pos{TXID: own}, UpstreamPos: ltx.Pos{TXID: upstream}}
	}
	snapshot := func(page, pages uint32) stream.Status {
		return stream.Status{Connected: true, SnapshotPage: page, SnapshotPages: pages}
	}
	disconnected := at(7, 9)
	disconnected.Connected = false
	for _, tt := range []struct {
		name   string
		states []stream.Status
		want   string // of each, until it is over
	}{
		{"snapshot", []stream.Status{{}, {Connected: true}, snapshot(0, 9), snapshot(5, 9), at(3, 3)}, "-; -; snapshot 0 of 9; snapshot 5 of 9; over"},
		{"transactions", []stream.Status{disconnected, at(7, 0), at(7, 9), at(8, 20), at(9, 21)}, "-; -; transactions 0 of 2; transactions 1 of 2; over"},
		{"a delta between", []stream.Status{at(7, 9), snapshot(1, 5), at(20, 22), at(22, 30)}, "transactions 0 of 2; snapshot 1 of 5; transactions 0 of 2; over"},
		{"nothing to do", []stream.Status{at(7, 7)}, "over"},
	} {
		r := new(catchingUp)
		var got []string
		for _, s := range tt.states {
			what, done, of := r.at(s)
			text := fmt.Sprintf("%s %d of %d", what, done, of)
			if of == 0 {
				text = "-"
			}
			if r.over {
				text = "over"
			}
			got = append(got, text)
		}
		if got := strings.Join(got, "; "); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

// dam is a proxy that lets some bytes come down on each connection, and the rest when it is opened.
type dam struct {
	addr   string
	opened chan struct{}
	open   func()
}

// newDam lets the first bytes through.
func newDam(t *testing.T, to string, bytes int64) *dam {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ownIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	d := &dam{addr: l.Addr().String(), opened: make(chan struct{})}
	d.open = sync.OnceFunc(func() { close(d.opened) })
	var running sync.WaitGroup
	running.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return // closed below
			}
			running.Go(func() { d.pass(down, to, bytes) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		d.open()
		running.Wait() // the replica has ended
	})
	return d
}

func (d *dam) pass(down net.Conn, to string, bytes int64) {
	defer down.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return // the replica comes again
	}
	defer up.Close()
	go func() {
		io.Copy(up, down)
		up.Close() // ends what copies the other way
	}()
	if _, err := io.CopyN(down, up, bytes); err != nil {
		return
	}
	<-d.opened
	io.Copy(down, up)
}

// startOnTerminal starts the node with a terminal of its own, whose output comes to its log.
func (n *node) startOnTerminal() {
	n.t.Helper()
	n.spawn("script", "-qfec", fmt.Sprintf("exec %s mount -config %s", n.weir, n.conf), "/dev/null")
}

// endOnTerminal ends weir, and with it the terminal. Script would kill it.
func (n *node) endOnTerminal() {
	n.t.Helper()
	script := n.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", script, script))
	if err != nil {
		n.t.Fatal(err)
	}
	var weir int
	if _, err := fmt.Sscan(string(children), &weir); err != nil {
		n.t.Fatalf("the children of script are %q: %v", children, err)
	}
	if err := syscall.Kill(weir, syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	if code := n.exitCode(); code != 0 {
		n.t.Errorf("got exit code %d, want 0", code)
	}
	if isMounted(n.dir) {
		n.t.Errorf("%s is still mounted", n.dir)
	}
}

// terminalLines are the lines that a terminal shows in the end, where each is drawn over from its beginning.
func terminalLines(output string) (lines []string) {
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\r\n")
		lines = append(lines, line[strings.LastIndex(line, "\r")+1:])
	}
	return lines
}

// On a terminal weir mount shows how far a replica's first snapshot is, and what it logs comes out whole. So say the status and the
// metrics, on a terminal or not.
func TestSnapshotOnTerminal(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, "PRAGMA journal_mode = WAL; CREATE TABLE big (x); WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO big SELECT randomblob(10000) FROM n")
	d := newDam(t, primary.addr, 2<<20)
	replica := newNode(t, "replica")
	replica.configure("addr: %q\ndbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n", replica.addr, replica.db, d.addr, primary.db)
	replica.startOnTerminal()
	replica.awaitLog("snapshot of db")
	replica.awaitLog("% |")
	pages := strings.TrimSpace(shell(t, primary.db, "PRAGMA page_count"))
	replica.awaitStatus("a part of the snapshot", func(s stream.Status) bool {
		return s.SnapshotPage > 0 && s.SnapshotPage < s.SnapshotPages && fmt.Sprint(s.SnapshotPages) == pages
	})
	if out, _, _ := tryWeir("status", "-db", replica.db); !strings.Contains(out, "receiving, ") {
		t.Errorf("weir status has no word of the snapshot:\n%s", out)
	}
	if _, text := replica.get("GET", "/metrics"); !strings.Contains(text, fmt.Sprintf("weir_snapshot_pages{db=%q} %s\n", replica.db, pages)) {
		t.Errorf("the metrics have no %s pages of the snapshot:\n%s", pages, text)
	}
	d.open()
	replica.awaitLog("snapshot complete")
	awaitEqual(t, primary, replica)
	replica.awaitStatus("no snapshot", func(s stream.Status) bool { return s.SnapshotPages == 0 })
	replica.endOnTerminal()
	for _, line := range terminalLines(replica.logged()) {
		if strings.Contains(line, "level=") && !strings.HasPrefix(line, "time=") {
			t.Errorf("on the terminal stands %q", line)
		}
	}
}

// A bar makes way for what is logged, and is drawn again below it.
func TestBottomLine(t *testing.T) {
	printed, err := command("script", "-qfec", "env "+childVar+"=bottomline "+os.Args[0], "/dev/null").CombinedOutput()
	out := string(printed)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{"first", "second", "third", ""}
	if got := terminalLines(out); !slices.Equal(got, want) {
		t.Errorf("the terminal shows %q, want %q", got, want)
	}
	for _, bar := range []string{"snapshot of db  25%", "transactions of db  50%"} {
		if n := strings.Count(out, bar); n < 2 {
			t.Errorf("%q was drawn %d times, want it again after a line: %q", bar, n, out)
		}
	}
}

// childBottomLine logs and draws bars in turn.
func childBottomLine() error {
	line := &bottomLine{std: stdio{err: os.Stderr}}
	for _, bar := range []struct {
		what     string
		done, of uint64
		then     string
	}{{"snapshot of db", 1, 4, "first"}, {"snapshot of db", 1, 4, "second"}, {"transactions of db", 2, 4, ""}, {"transactions of db", 2, 4, "third"}} {
		line.show(bar.what, bar.done, bar.of)
		if bar.then != "" {
			fmt.Fprintln(line, bar.then)
		}
	}
	line.show("transactions of db", 3, 4)
	line.clear()
	return nil
}
