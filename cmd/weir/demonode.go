package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// demoNode is a weir with a mount, in a process of its own.
type demoNode struct {
	name  string // primary or replica, or floor
	db    string
	addr  string // where it serves; empty on the replica
	cmd   *exec.Cmd
	args  []string      // what weir is started with
	ended chan struct{} // closed when the process is gone
	out   string        // file with its log
}

// startDemoNode writes a configuration, starts weir mount with it and waits for the mount.
func startDemoNode(ctx context.Context, dir, name, conf string) (*demoNode, error) {
	n := &demoNode{
		name: name,
		db:   filepath.Join(dir, name, "db"),
		out:  filepath.Join(dir, name+".log"),
	}
	file := filepath.Join(dir, name+".yml")
	n.args = []string{"mount", "-config", file}
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	return n, n.begin(ctx)
}

// begin makes the directory, and starts weir on it.
func (n *demoNode) begin(ctx context.Context) error {
	if err := os.Mkdir(filepath.Dir(n.db), 0o755); err != nil {
		return err
	}
	return n.start(ctx)
}

// start starts weir, also after a stop, and waits for the mount.
func (n *demoNode) start(ctx context.Context) error {
	n.ended = make(chan struct{})
	if err := n.spawn(n.args...); err != nil {
		return err
	}
	return n.until(ctx, "the mount", func() bool { return isMounted(filepath.Dir(n.db)) })
}

// spawn starts this binary anew, with its output in n.out. It gets a process group of its own, so that ctrl-C reaches
// only the demo, and is told to end should the demo die.
func (n *demoNode) spawn(args ...string) error {
	log, err := os.Create(n.out)
	if err != nil {
		return err
	}
	defer log.Close()
	if n.cmd, err = selfCommand(args...); err != nil {
		return err
	}
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	go func() {
		n.cmd.Wait() // its log says more than its exit code
		close(n.ended)
	}()
	return nil
}

// until waits for a condition, and gives up early if the node ends.
func (n *demoNode) until(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for !holds() {
		select {
		case <-n.ended:
			return fmt.Errorf("%s ended:\n%s", n.name, n.log())
		case <-ctx.Done():
			return fmt.Errorf("%s: waiting for %s: %w\n%s", n.name, what, ctx.Err(), n.log())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// log returns the end of what the node has logged, indented.
func (n *demoNode) log() string {
	const last = 12
	data, err := os.ReadFile(n.out)
	if err != nil {
		return "\t" + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "\t" + strings.Join(lines[max(0, len(lines)-last):], "\n\t")
}

// stop asks the node to end, twice if need be, and kills it when that does not help either.
func (n *demoNode) stop() error {
	if n.cmd == nil || n.cmd.Process == nil {
		return nil
	}
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL} {
		n.cmd.Process.Signal(sig)
		if n.endsWithin(demoPatience / 4) {
			break
		}
	}
	if dir := filepath.Dir(n.db); isMounted(dir) {
		unix.Unmount(dir, unix.MNT_DETACH)
		return fmt.Errorf("%s did not unmount by itself:\n%s", n.name, n.log())
	}
	return nil
}

func (n *demoNode) endsWithin(t time.Duration) bool {
	select {
	case <-n.ended:
		return true
	case <-time.After(t):
		return false
	}
}

// isMounted says whether something is mounted on dir.
func isMounted(dir string) bool {
	mounts, err := os.ReadFile("/proc/self/mounts")
	return err == nil && bytes.Contains(mounts, []byte(" "+dir+" "))
}

// freeAddr returns an address with a port on which nobody listens.
func freeAddr(ip string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// worker is a process that runs a job of demo-worker.
type worker struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	beats  <-chan beat // closed at its end
	stderr bytes.Buffer
	err    error // how it ended; valid once ended is closed
	ended  chan struct{}
}

func startWorker(args ...string) (*worker, error) {
	cmd, err := selfCommand(append([]string{workerName}, args...)...)
	if err != nil {
		return nil, err
	}
	beats := make(chan beat, 1024)
	w := &worker{cmd: cmd, beats: beats, ended: make(chan struct{})}
	w.cmd.Stderr = &w.stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdin, inErr := w.cmd.StdinPipe()
	stdout, outErr := w.cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, err
	}
	w.stdin = stdin
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go w.read(stdout, beats)
	return w, nil
}

// read passes beats on until the worker ends.
func (w *worker) read(stdout io.Reader, beats chan<- beat) {
	dec := json.NewDecoder(stdout)
	for {
		var b beat
		if dec.Decode(&b) != nil {
			break
		}
		beats <- b
	}
	w.err = w.cmd.Wait()
	close(w.ended)
	close(beats)
}

// failure is how the worker ended; nil if all went well.
func (w *worker) failure() error {
	<-w.ended
	if w.err == nil {
		return nil
	}
	return fmt.Errorf("%s (%w)", workerText(w.stderr.String()), w.err)
}

// stop ends the worker and waits for it.
func (w *worker) stop() {
	w.stdin.Close()
	if w.beats != nil {
		for range w.beats {
		}
	}
	<-w.ended
}

// runJob runs a job to its end. Its error is what SQLite said.
func runJob(ctx context.Context, args ...string) error {
	cmd, err := selfCommand(append([]string{workerName}, args...)...)
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return errors.New(workerText(stderr.String()))
	}
	return ctx.Err()
}

// workerText takes our own name off a worker's error.
func workerText(s string) string { return strings.TrimPrefix(strings.TrimSpace(s), "weir: ") }

// selfCommand runs this binary.
func selfCommand(args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(self, args...), nil
}
