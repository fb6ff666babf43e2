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
