package fuse

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/stream"
)

// shell is a process that has the database open.
type shell struct {
	*primary
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func (p *primary) shell() *shell {
	p.Helper()
	s := &shell{primary: p, cmd: exec.Command("sqlite3", p.path)}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		p.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		p.Fatal(err)
	}
	s.cmd.Stderr = s.cmd.Stdout
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	p.Cleanup(s.close)
	return s
}

func (s *shell) close() {
	s.in.Close()
	s.cmd.Wait() // what it says was read
}

// run runs SQL, which must give no error; it returns when that is done.
func (s *shell) run(sql string) {
	s.Helper()
	fmt.Fprintf(s.in, "%s;\n.print -- done\n", sql)
	for s.out.Scan() && s.out.Text() != "-- done" {
		if strings.Contains(s.out.Text(), "rror") {
			s.Fatalf("%s: %s", sql, s.out.Text())
		}
	}
}

// published is the last published transaction.
func (p *primary) published() stream.TXID { return p.capture().Log().Published().TXID }

// others has other processes read the database, which closes it.
func (p *primary) others() {
	p.Helper()
	for range 3 {
		if out, err := exec.Command("cat", p.path).CombinedOutput(); err != nil {
			p.Fatal(err, string(out))
		}
		exec.Command("sqlite3", p.path, "SELECT count(*) FROM t").Run() // the database may be locked
		time.Sleep(10 * time.Millisecond)
	}
}

// rows are some rows of a kilobyte.
const rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO t SELECT randomblob(1000) FROM n"

// A transaction that has spilled from SQLite's cache stands half-way in a file
// that other processes open and close.
func TestSpilledTransactionWithoutJournal(t *testing.T) {
	for _, mode := range []string{"MEMORY", "OFF"} {
		for _, sync := range []string{"OFF", "NORMAL", "FULL"} {
			t.Run(mode+"/"+sync, func(t *testing.T) {
				p, m := mountPrimary(t), newModel()
				p.sqlite("CREATE TABLE t(a)")
				before := p.published()
				s := p.shell()
				s.run(fmt.Sprintf("PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA cache_size=1; PRAGMA cache_spill=1", mode, sync))
				s.run("BEGIN; " + rows)
				p.others()
				s.run(rows)
				p.others()
				if got := p.published(); got != before {
					t.Errorf("at %s within the transaction, want %s", got, before)
				}
				s.run("COMMIT")
				p.await(before + 1)
				p.replay(m)
				p.compare(m)
				if got := p.published(); got != before+1 {
					t.Errorf("at %s after the transaction, want %s", got, before+1)
				}
			})
		}
	}
}

func TestRollbackWithoutJournalFile(t *testing.T) {
	p := mountPrimary(t)
	p.sqlite("CREATE TABLE t(a);" + rows)
	before := p.published()
	s := p.shell()
	s.run("PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA cache_size=1; PRAGMA cache_spill=1")
	s.run("BEGIN; UPDATE t SET a=randomblob(1000)")
	p.others()
	s.run("ROLLBACK")
	p.others()
	if got := p.published(); got != before {
		t.Errorf("at %s after a rollback, want %s", got, before)
	}
}

// Nothing is synced, and nobody closes the database.
func TestCommitShowsAtTheUnlock(t *testing.T) {
	p, m := mountPrimary(t), newModel()
	p.sqlite("CREATE TABLE t(a)")
	s := p.shell()
	s.run("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")
	quickest := time.Hour
	for range 10 {
		before := p.published()
		s.run("INSERT INTO t VALUES(randomblob(100))")
		start := time.Now()
		p.await(before + 1)
		quickest = min(quickest, time.Since(start))
	}
	if quickest > 100*time.Millisecond {
		t.Errorf("a commit shows after %v at best, want 100ms", quickest)
	}
	p.replay(m)
	p.compare(m)
}

// locking_mode=EXCLUSIVE keeps the lock: a sync tells the end, or the close.
func TestExclusiveWithoutJournal(t *testing.T) {
	for _, sync := range []string{"OFF", "NORMAL"} {
		t.Run(sync, func(t *testing.T) {
			p, m := mountPrimary(t), newModel()
			p.sqlite("CREATE TABLE t(a)")
			before := p.published()
			s := p.shell()
			s.run("PRAGMA journal_mode=MEMORY; PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=" + sync)
			s.run("INSERT INTO t VALUES(1)")
			if sync != "OFF" {
				p.await(before + 1)
			}
			s.close()
			p.await(before + 1)
			p.replay(m)
			p.compare(m)
		})
	}
}

// A process that is killed leaves what it wrote, and nobody takes it back.
func TestKilledWithoutJournal(t *testing.T) {
	p := mountPrimary(t)
	p.sqlite("CREATE TABLE t(a);" + rows)
	before := p.published()
	s := p.shell()
	s.run("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=1; PRAGMA cache_spill=1")
	s.run("BEGIN; UPDATE t SET a=randomblob(1000)")
	if got := p.published(); got != before {
		t.Errorf("at %s within the transaction, want %s", got, before)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.await(before + 1)
}

// The locks are asked for on the file that is the database, whatever it was.
func TestUnlockOfANewDatabase(t *testing.T) {
	p, m := mountPrimary(t), newModel()
	for i := range 3 {
		p.sqlite("PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; CREATE TABLE t(a)")
		s := p.shell()
		s.run("PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA cache_size=1; PRAGMA cache_spill=1")
		p.settled()
		before := p.published()
		s.run("BEGIN; " + rows)
		p.others()
		if got := p.published(); got != before {
			t.Errorf("at %s within the transaction of database %d, want %s", got, i, before)
		}
		s.run("COMMIT")
		p.await(before + 1)
		p.replay(m)
		p.compare(m)
		s.close()
		if i == 0 {
			if err := os.Remove(p.path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		src := filepath.Join(t.TempDir(), "src")
		if out, err := exec.Command("sqlite3", src, "VACUUM").CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
		// Within the mount, so that it is a rename.
		if out, err := exec.Command("sh", "-c", "cp $0 $1.new && mv $1.new $1", src, p.path).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
	}
}

// settled waits until nothing more is published.
func (p *primary) settled() {
	for at := stream.TXID(0); at != p.published(); time.Sleep(50 * time.Millisecond) {
		at = p.published()
	}
}

// awaitSize waits until the database file has so many bytes.
func (p *primary) awaitSize(n int) {
	p.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if fi, err := os.Stat(p.path); err == nil && fi.Size() >= int64(n) {
			return
		}
		if time.Now().After(deadline) {
			p.Fatalf("the database does not get %d bytes", n)
		}
	}
}

// cp takes no locks, and may take its time.
func TestSlowCopyIsOneTransaction(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	if out, err := exec.Command("sqlite3", src, "CREATE TABLE t(a);"+rows).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	for name, script := range map[string]string{
		"by one process": `exec dd bs=4096 iflag=fullblock 2>/dev/null`,
		"by two":         `dd bs=4096 iflag=fullblock count=20 2>/dev/null; exec dd bs=4096 iflag=fullblock 2>/dev/null`,
	} {
		t.Run(name, func(t *testing.T) {
			p, m := mountPrimary(t), newModel()
			p.sqlite("CREATE TABLE t(a)")
			before := p.published()
			text, err := os.ReadFile(src)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", "{ "+script+"; } > "+p.path)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(text); {
				n, err := in.Write(text[at:min(at+30<<12, len(text))])
				if err != nil {
					t.Fatal(err)
				}
				at += n
				p.awaitSize(at)
				p.others()
				if got := p.published(); got != before {
					t.Fatalf("at %s within the copy, want %s", got, before)
				}
			}
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			p.await(before + 1)
			p.replay(m)
			p.compare(m)
			if got := p.published(); got != before+1 {
				t.Errorf("at %s after the copy, want %s", got, before+1)
			}
		})
	}
}
