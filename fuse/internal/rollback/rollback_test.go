package rollback

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	script := `import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("CREATE TABLE t(a)")
c.execute("INSERT INTO t VALUES(randomblob(1000000))")
c.execute("PRAGMA cache_size=10")
c.execute("BEGIN")
c.execute("UPDATE t SET a=randomblob(2000000)")
os.kill(os.getpid(), 9)`
	if out, err := exec.Command("python3", "-c", script, path).CombinedOutput(); len(out) > 0 || err == nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := os.Stat(path + "-journal"); err != nil {
		t.Fatalf("the killed process left no journal: %v", err)
	}
	if err := Journal(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-journal"); !os.IsNotExist(err) {
		t.Errorf("the journal is still there: %v", err)
	}
	out, err := exec.Command("sqlite3", path, "PRAGMA integrity_check; SELECT length(a) FROM t").CombinedOutput()
	if got, want := string(out), "ok\n1000000\n"; err != nil || got != want {
		t.Errorf("after the rollback: %q, %v, want %q", got, err, want)
	}
}

func TestNoJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	if err := Journal(path); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a database was created: %v", err)
	}
}

// A power failure may leave a journal and not its database, for nobody syncs the directory with synchronous=OFF.
func TestJournalWithoutDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	journal := path + "-journal"
	if err := os.WriteFile(journal, []byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and so on"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Journal(path); err != nil {
		t.Error(err)
	}
	out, err := exec.Command("sqlite3", path, "CREATE TABLE t (a); SELECT count(*) FROM t").CombinedOutput()
	if got, want := string(out), "0\n"; err != nil || got != want {
		t.Errorf("in the new database: %q, %v, want %q", got, err, want)
	}
	if _, err := os.Stat(journal); !os.IsNotExist(err) {
		t.Errorf("the journal is still there: %v", err)
	}
}
