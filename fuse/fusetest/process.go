package fusetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Patience is how long to wait for what takes milliseconds, where waiting has no other end.
const Patience = 90 * time.Second

// Process is a [Child] as the test that started it sees it.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	enc    *json.Encoder
	dec    *json.Decoder
	stderr bytes.Buffer
	ended  bool
}

// Start starts a child.
func Start() (*Process, error) {
	p := &Process{cmd: exec.Command(os.Args[0])}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// A child under the race detector would sleep a second at its end.
	p.cmd.Env = append(os.Environ(), childVar+"=1", "GORACE=atexit_sleep_ms=0", "GOMAXPROCS=2")
	p.cmd.Stderr = &p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.enc, p.dec = json.NewEncoder(p.in), json.NewDecoder(out)
	return p, onLastingThread(p.cmd.Start)
}

// lasting takes what the thread does that lasts as long as the process.
var lasting = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

// onLastingThread calls start. A child that is to die with the test (PR_SET_PDEATHSIG) dies with the thread that has
// started it, and a thread ends with a goroutine that is locked to it.
func onLastingThread(start func() error) (err error) {
	done := make(chan struct{})
	lasting() <- func() {
		defer close(done)
		err = start()
	}
	<-done
	return err
}

// Command makes a command that ends by itself.
func Command(args ...string) *exec.Cmd { return exec.Command(args[0], args[1:]...) }

// Ask has the child do something. An error is the child's end.
func (p *Process) Ask(verb, arg string) (a Answer, err error) {
	defer time.AfterFunc(Patience, p.shoot).Stop()
	if err := errors.Join(p.enc.Encode(request{verb, arg}), p.dec.Decode(&a)); err != nil {
		p.Kill()
		return a, fmt.Errorf("child %d, %s %.200s: %w (or no answer for %v) %s", p.cmd.Process.Pid, verb, arg, err, Patience, p.stderr.Bytes())
	}
	return a, nil
}

// Shoot has the child do something and kills it in the midst, after some time.
func (p *Process) Shoot(verb, arg string, after time.Duration) error {
	err := p.enc.Encode(request{verb, arg})
	time.Sleep(after)
	p.Kill()
	return err
}

// Limit has the child's writes behind a number of bytes of any file fail. A negative one takes the limit away.
func (p *Process) Limit(bytes int64) error {
	limit := &unix.Rlimit{Cur: uint64(bytes), Max: unix.RLIM_INFINITY}
	return unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, limit, nil)
}

func (p *Process) shoot() { p.cmd.Process.Kill() }

// Kill ends the child as it is, by kill -9.
func (p *Process) Kill() {
	if !p.ended {
		p.ended = true
		p.shoot()
		p.cmd.Wait() // killed
	}
}

// End has the child close its connection, as an app does, and end.
func (p *Process) End() error {
	defer time.AfterFunc(Patience, p.shoot).Stop()
	p.in.Close()
	p.ended = true
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("child %d: %w: %s", p.cmd.Process.Pid, err, p.stderr.Bytes())
	}
	return nil
}

// Maps tells whether the child has the file at path mapped.
func (p *Process) Maps(path string) bool {
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.cmd.Process.Pid)) // none: it has ended
	return bytes.Contains(maps, []byte(path+"\n"))
}
