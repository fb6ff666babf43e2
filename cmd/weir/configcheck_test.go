package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What would work is said to, before and while it does; what would not is named, all of it.
func TestConfigCheck(t *testing.T) {
	n := newPrimary(t)
	check := func(code int, want ...string) {
		t.Helper()
		out, stderr, err := tryWeir("config", "check", "-config", n.conf)
		if got := exitCodeOf(err); got != code {
			t.Errorf("got exit code %d, want %d\n%s%s", got, code, out, stderr)
		}
		for _, w := range want {
			if !strings.Contains(out+stderr, w) {
				t.Errorf("got %q and %q, want %q", out, stderr, w)
			}
		}
	}
	check(0, "serve at "+n.addr+"\n", "mount over "+n.dir+"\n", "  db: primary\n", "passthrough")
	if isMounted(n.dir) || listFiles(t, n.dir) != "[]" {
		t.Errorf("the check has left something at %s", n.dir)
	}
	n.start()
	check(0, "in use now as by the weir that runs", "mount over "+n.dir+", where weir runs now\n")

	other := newNode(t, "other")
	if err := os.WriteFile(other.db, []byte("this is a text, and not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.conf = other.conf
	n.configure("addr: %q\nsurprise: 1\ndbs:\n  - path: %s\n  - path: %s\n    upstream:\n      url: http://127.0.0.1:1\n      path: /there\n", n.addr, other.db, filepath.Join(other.db, "db"))
	check(1, "has no key surprise", "address already in use", other.db+" is no SQLite database", other.db+" is no directory", "replica of /there at http://127.0.0.1:1")
}

// Who may not mount learns it from the check.
func TestConfigCheckNotRoot(t *testing.T) {
	n := newPrimary(t)
	cmd := command(weirBinary, "config", "check", "-config", n.conf)
	n.asNobody(cmd)
	temp := t.TempDir()
	for dir := filepath.Dir(n.conf); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Dir(temp), 0o755), os.Chmod(temp, 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	for _, want := range []string{n.dir + " can't be written to", "mount an empty directory", "root"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got %v, %q, want %q", err, out, want)
		}
	}
	if got := listFiles(t, temp); got != "[]" {
		t.Errorf("left behind: %s", got)
	}
	if fmt.Sprint(err) != "exit status 1" {
		t.Errorf("got %v, want exit status 1", err)
	}
}

// Of a directory whose databases come and go it is said what is there now, and what passes through.
func TestConfigCheckDirectory(t *testing.T) {
	n := newNode(t, "primary")
	n.leadAll("    recursive: true\n")
	shell(t, filepath.Join(n.dir, "a.db"), "CREATE TABLE t(a)")
	text := filepath.Join(n.dir, "b.db")
	if err := os.WriteFile(text, []byte("this is a text, and not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, stderr, err := tryWeir("config", "check", "-config", n.conf)
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr)
	}
	for _, want := range []string{"mount over " + n.dir + "\n", "  *.db, all that come and go, in directories below, too: primaries\n", text + " is no SQLite database", " 1 there now\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("got %q, want %q", out, want)
		}
	}
}
