package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// browserPatience is how long the browser may take for anything: it has many threads, and the machine may be busy.
const browserPatience = 2 * time.Minute

// chromium is a headless Chromium, spoken to in its DevTools protocol (https://chromedevtools.github.io/devtools-protocol)
// through a pair of pipes: JSON, each message with a zero byte after it.
type chromium struct {
	t       *testing.T
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
	errs    lockedBuffer
	reading sync.WaitGroup

	mu      sync.Mutex // guards all below
	out     *os.File
	last    int                     // id of the last command
	replies map[int]chan devMessage // by id
	tabs    map[string]*tab         // by session
}

// devMessage is a command, a reply to one, or an event.
type devMessage struct {
	ID      int                       `json:"id,omitempty"`
	Session string                    `json:"sessionId,omitempty"`
	Method  string                    `json:"method,omitempty"`
	Params  json.RawMessage           `json:"params,omitempty"`
	Result  json.RawMessage           `json:"result,omitempty"`
	Error   *struct{ Message string } `json:"error,omitempty"`
}

// startChromium starts the browser. It keeps all its files in a directory of the test's.
func startChromium(t *testing.T, program string) *chromium {
	t.Helper()
	profile := shortTempDir(t)
	commands, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &chromium{t: t, out: out, ended: make(chan struct{}), replies: make(map[int]chan devMessage), tabs: make(map[string]*tab)}
	c.cmd = exec.Command(program, "--headless=new", "--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
		"--disable-breakpad", "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--no-proxy-server",
		"--disable-renderer-backgrounding", "--disable-background-timer-throttling", "--password-store=basic", "--force-color-profile=srgb",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	c.cmd.ExtraFiles = []*os.File{commands, answers} // 3 and 4
	c.cmd.Env = append(os.Environ(), "HOME="+profile, "TMPDIR="+profile, "XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile)
	c.cmd.Stderr = &c.errs
	// Its processes are a group of their own, so that it is known when the last one has ended.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = c.cmd.Start()
	commands.Close()
	answers.Close()
	if err != nil {
		t.Fatalf("%v: install Debian's package chromium, or name another with -page.chromium", err)
	}
	t.Cleanup(c.end)
	c.reading.Go(func() { c.read(in) })
	go func() {
		c.cmd.Wait() // read from ProcessState
		close(c.ended)
	}()
	return c
}

// chromiumSocket is what Chromium adds to the directory for temporary files for a socket, whose path may have 107 bytes
// (unix(7)). With a longer one it ends at once.
const chromiumSocket = "/org.chromium.Chromium.XXXXXX/SingletonSocket"

// shortTempDir is t.TempDir without the test's name.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if path := dir + chromiumSocket; len(path) > 107 {
		t.Fatalf("%s is too long a path for Chromium's socket: set TMPDIR to a shorter one", path)
	}
	return dir
}

// end ends the browser, waits until nothing of it is left, and complains of what does not end by itself.
func (c *chromium) end() {
	c.send("", "Browser.close", nil, c.newReply()) // where that fails, the end of the pipe does as well
	c.mu.Lock()
	c.out.Close()
	c.mu.Unlock()
	group := c.cmd.Process.Pid
	for end := time.Now().Add(browserPatience); len(processesOf(group)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Errorf("chromium's processes do not end: %v\n%s", processesOf(group), c.errs.String())
			syscall.Kill(-group, syscall.SIGKILL)
			break
		}
	}
	<-c.ended
	c.reading.Wait()
}

// processesOf lists the processes of a group.
func processesOf(group int) (pids []string) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic(err) // the pattern is sound
	}
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		_, rest, _ := bytes.Cut(stat, []byte(") ")) // proc(5): state, parent, group
		if fields := strings.Fields(string(rest)); fields[0] != "Z" && fields[2] == strconv.Itoa(group) {
			pids = append(pids, file)
		}
	}
	return pids
}

// read hands out what the browser says, until it says no more.
func (c *chromium) read(in *os.File) {
	defer in.Close()
	for r := bufio.NewReaderSize(in, 1<<20); ; {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m devMessage
		if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
			c.t.Errorf("chromium says %.100q: %v", text, err)
			return
		}
		c.mu.Lock()
		reply, tab := c.replies[m.ID], c.tabs[m.Session]
		delete(c.replies, m.ID)
		c.mu.Unlock()
		if reply != nil {
			reply <- m
		} else if tab != nil {
			tab.heard(m)
		}
	}
}

func (c *chromium) newReply() chan devMessage { return make(chan devMessage, 1) }

func (c *chromium) send(session, method string, params any, reply chan devMessage) error {
	m := devMessage{Session: session, Method: method}
	if params != nil {
		m.Params = json.RawMessage(asJSON(params))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	m.ID = c.last
	c.replies[m.ID] = reply
	_, err := c.out.Write(append([]byte(asJSON(m)), 0))
	return err
}

type params map[string]any

// call sends a command and puts its result, where that is wanted.
func (c *chromium) call(t *testing.T, session, method string, p params, result any) {
	t.Helper()
	reply := c.newReply()
	if err := c.send(session, method, p, reply); err != nil {
		t.Fatalf("%s: %v\n%s", method, err, c.errs.String())
	}
	select {
	case m := <-reply:
		if m.Error != nil {
			t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				t.Fatalf("%s: %v", method, err)
			}
		}
	case <-c.ended:
		t.Fatalf("%s: chromium has ended: %v\n%s", method, c.cmd.ProcessState, c.errs.String())
	case <-time.After(browserPatience):
		t.Fatalf("%s: no answer within %v\n%s", method, browserPatience, c.errs.String())
	}
}

// tab is a page in the browser, which knows nothing of the others.
type tab struct {
	t       *testing.T
	c       *chromium
	session string

	mu    sync.Mutex // guards all below
	said  []string   // what scripts have thrown and printed, and what the page was kept from
	hosts []string   // that it asked
}

// open opens an address in a new tab. The tab is closed as the test ends.
func (c *chromium) open(t *testing.T, address string) *tab {
	t.Helper()
	var context, target, session struct {
		BrowserContextID, TargetID, SessionID string
	}
	c.call(t, "", "Target.createBrowserContext", nil, &context)
	t.Cleanup(func() {
		c.call(t, "", "Target.disposeBrowserContext", params{"browserContextId": context.BrowserContextID}, nil)
	})
	c.call(t, "", "Target.createTarget", params{"url": "about:blank", "browserContextId": context.BrowserContextID}, &target)
	c.call(t, "", "Target.attachToTarget", params{"targetId": target.TargetID, "flatten": true}, &session)
	b := &tab{t: t, c: c, session: session.SessionID}
	c.mu.Lock()
	c.tabs[b.session] = b
	c.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Page.navigate", params{"url": address}, nil)
	return b
}

func (b *tab) call(method string, p params, result any) {
	b.t.Helper()
	b.c.call(b.t, b.session, method, p, result)
}

// heard takes an event.
func (b *tab) heard(m devMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m.Method {
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled":
		b.said = append(b.said, string(m.Params))
	case "Log.entryAdded":
		// That the server can't be reached is for the page to say, and pictures that are read are the tests'.
		if text := string(m.Params); !strings.Contains(text, `"source":"network"`) && !strings.Contains(text, `"source":"rendering"`) {
			b.said = append(b.said, string(m.Params))
		}
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &p) == nil {
			if u, err := url.Parse(p.Request.URL); err == nil && !slices.Contains(b.hosts, u.Host) {
				b.hosts = append(b.hosts, u.Host)
			}
		}
	}
}

// faultless requires that no script has failed, the policy had nothing to forbid, and only host was asked.
func (b *tab) faultless(host string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 || !slices.Equal(b.hosts, []string{host}) {
		b.t.Errorf("got %q, and requests to %q, want nothing and %q", b.said, b.hosts, host)
	}
}

// eval returns the value of a JavaScript expression, of a promise the one to come.
func (b *tab) eval(expression string, value any) {
	b.t.Helper()
	var got struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", params{"expression": expression, "awaitPromise": true, "returnByValue": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails)
	}
	if err := json.Unmarshal(got.Result.Value, value); err != nil {
		b.t.Fatalf("%s: got %q: %v", expression, got.Result.Value, err)
	}
}

// text is what a person reads on the page, or in the first element that a selector finds.
func (b *tab) text(selector string) (text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("((e) => e?.checkVisibility() ? e.innerText : '')(document.querySelector(%q))", selector), &text)
	return text
}

// await waits until the text in the first element of selector has all parts.
func (b *tab) await(selector string, parts ...string) {
	b.t.Helper()
	b.until(selector, func() (string, bool) {
		text := b.text(selector)
		missing := slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
		return fmt.Sprintf("no %q in\n%s", parts, text), !missing
	})
}

// until waits for something to be so. ok says what is, where it is not.
func (b *tab) until(what string, ok func() (string, bool)) {
	b.t.Helper()
	var got string
	for end := time.Now().Add(browserPatience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var done bool
		if got, done = ok(); done {
			return
		}
	}
	b.t.Fatalf("%s: got %s", what, got)
}
