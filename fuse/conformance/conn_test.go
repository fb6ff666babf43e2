package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/stream"
)

// patience is how long a test waits for what takes milliseconds.
const patience = 90 * time.Second

// conn is a connection in a process of its own.
type conn struct {
	t      *testing.T
	path   string
	cmd    *exec.Cmd
	in     io.WriteCloser
	enc    *json.Encoder
	dec    *json.Decoder
	stderr bytes.Buffer
	ended  bool
	inTxn  bool // as of the last answer
}

// connect opens the database at path, with the parameters of SQLite's URI that are given, such as "mode=ro".
func connect(t *testing.T, path string, params ...string) *conn {
	t.Helper()
	c := &conn{t: t, path: path, cmd: command(os.Args[0])}
	// A child under the race detector would sleep a second at its end.
	c.cmd.Env = append(os.Environ(), childVar+"=1", "GORACE=atexit_sleep_ms=0", "GOMAXPROCS=2")
	c.cmd.Stderr = &c.stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	c.enc, c.dec = json.NewEncoder(c.in), json.NewDecoder(out)
	if a := c.ask("open", "file:"+path+"?"+strings.Join(append(params, "_busy_timeout=5000"), "&")); a.Err != "" {
		t.Fatalf("open %s: %s", path, a.Err)
	}
	return c
}

// ask has the child do something.
func (c *conn) ask(verb, arg string) (a answer) {
	c.t.Helper()
	timer := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	err := c.enc.Encode(request{verb, arg})
	if err == nil {
		err = c.dec.Decode(&a)
	}
	if err != nil {
		c.kill()
		c.t.Fatalf("%s: %s %.200s: %v (or no answer for %v)\n%s", c.path, verb, arg, err, patience, c.stderr.Bytes())
	}
	c.inTxn = a.Open
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
	for deadline := time.Now().Add(late); ; time.Sleep(time.Millisecond) {
		a := c.ask("pages", how)
		if a.Err != "" && time.Now().Before(deadline) {
			continue
		}
		if a.Err != "" {
			c.t.Fatalf("%s: read all pages: %s", c.path, a.Err)
		}
		if len(a.Table) == 0 {
			return stream.NewSums(0)
		}
		sums, err := stream.ReadSums(bytes.NewReader(a.Table), 1<<20)
		if err != nil {
			c.t.Fatal(err)
		}
		return sums
	}
}

// close closes the connection as an app does.
func (c *conn) close() {
	c.t.Helper()
	timer := time.AfterFunc(patience, func() { c.cmd.Process.Kill() })
	defer timer.Stop()
	c.in.Close()
	c.ended = true
	if err := c.cmd.Wait(); err != nil {
		c.t.Fatalf("%s: close: %v\n%s", c.path, err, c.stderr.Bytes())
	}
}

// kill ends the process as it is, by kill -9.
func (c *conn) kill() {
	if !c.ended {
		c.ended = true
		c.cmd.Process.Kill()
		c.cmd.Wait() // killed
	}
}

// command makes a command that dies with the test.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs a command, which must succeed, and returns what it printed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%.200q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// shell runs a script in the sqlite3 shell.
func shell(t *testing.T, path, script string) string {
	t.Helper()
	cmd := command("sqlite3", "-bail", "-cmd", ".timeout 5000", path)
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3 %s < %.200q: %v\n%s", path, script, err, out)
	}
	return strings.TrimSpace(string(out))
}
