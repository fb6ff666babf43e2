package conformance

import (
	"strings"
	"testing"
	"time"

	"weir/fuse/fusetest"
	"weir/stream"
)

// conn is a connection in a process of its own.
type conn struct {
	t     *testing.T
	path  string
	proc  *fusetest.Process
	inTxn bool // as of the last answer

	unchecked bool // it was asked something since the last check
}

// connect opens the database at path, with the parameters of SQLite's URI that are given, such as "mode=ro".
func connect(t *testing.T, path string, params ...string) *conn {
	t.Helper()
	proc, err := fusetest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proc.Kill)
	c := &conn{t: t, path: path, proc: proc}
	if a := c.ask("open", "file:"+path+"?"+strings.Join(append(params, "_busy_timeout=5000"), "&")); a.Err != "" {
		t.Fatalf("open %s: %s", path, a.Err)
	}
	return c
}

// ask has the child do something.
func (c *conn) ask(verb, arg string) fusetest.Answer {
	c.t.Helper()
	a, err := c.proc.Ask(verb, arg)
	if err != nil {
		c.t.Fatalf("%s: %v", c.path, err)
	}
	c.inTxn, c.unchecked = a.Open, c.unchecked || verb == "sql"
	return a
}

// sql runs statements, which must succeed, and returns the last one's rows, one a line.
func (c *conn) sql(text string) string {
	c.t.Helper()
	a := c.ask("sql", text)
	if a.Err != "" {
		c.t.Fatalf("%s: %.300s: %s", c.path, text, a.Err)
	}
	return strings.Join(a.Rows, "\n")
}

// want runs statements whose result is known.
func (c *conn) want(text, rows string) {
	c.t.Helper()
	if got := c.sql(text); got != rows {
		c.t.Fatalf("%s: %.300s: got %.300q, want %q", c.path, text, got, rows)
	}
}

// fail runs statements that must fail with an error that has the given text.
func (c *conn) fail(text, with string) {
	c.t.Helper()
	if a := c.ask("sql", text); !strings.Contains(a.Err, with) || a.Err == "" {
		c.t.Fatalf("%s: %.300s: got error %q, want %q", c.path, text, a.Err, with)
	}
}

// see reads all pages as others see them.
func (c *conn) see() *stream.Sums { return c.pages("other") }

// read reads all pages through the connection itself.
func (c *conn) read() *stream.Sums { return c.pages("own") }

// pages reads all pages, and again for a while where the database is busy.
func (c *conn) pages(how string) *stream.Sums {
	c.t.Helper()
	a := c.ask("pages", how)
	for deadline := time.Now().Add(fusetest.Late); a.Err != "" && time.Now().Before(deadline); a = c.ask("pages", how) {
		time.Sleep(time.Millisecond)
	}
	if a.Err != "" {
		c.t.Fatalf("%s: read all pages: %s", c.path, a.Err)
	}
	sums, err := a.Pages()
	if err != nil {
		c.t.Fatal(err)
	}
	return sums
}

// close closes the connection as an app does.
func (c *conn) close() {
	c.t.Helper()
	if err := c.proc.End(); err != nil {
		c.t.Fatalf("%s: close: %v", c.path, err)
	}
}

// kill ends the process as it is, by kill -9.
func (c *conn) kill() { c.proc.Kill() }

// run runs a command, which must succeed, and returns what it printed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := fusetest.Command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%.200q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// shell runs a script in the sqlite3 shell.
func shell(t *testing.T, path, script string) string {
	t.Helper()
	cmd := fusetest.Command("sqlite3", "-bail", "-cmd", ".timeout 5000", path)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3 %s < %.200q: %v\n%s", path, script, err, out)
	}
	return strings.TrimSpace(string(out))
}
