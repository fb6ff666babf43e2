package oracle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// patience is how long to wait for what takes milliseconds.
const patience = 20 * time.Second

// process is a child that the test talks to.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	enc    *json.Encoder
	dec    *json.Decoder
	stderr bytes.Buffer
}

func startProcess() (*process, error) {
	p := &process{cmd: exec.Command(os.Args[0])}
	// A child under the race detector would sleep a second at its end.
	p.cmd.Env = append(os.Environ(), childVar+"=1", "GORACE=atexit_sleep_ms=0", "GOMAXPROCS=2")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
	return p, p.cmd.Start()
}

// ask has the child do something. An error is the child's end.
func (p *process) ask(verb, arg string) (a answer, err error) {
	timer := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.enc.Encode(request{verb, arg}); err != nil {
		return a, fmt.Errorf("child %d, %s %s: %w", p.cmd.Process.Pid, verb, arg, err)
	}
	if err := p.dec.Decode(&a); err != nil {
		return a, fmt.Errorf("child %d, %s %.200s: %w (or no answer for %v) %s", p.cmd.Process.Pid, verb, arg, err, patience, p.stderr.Bytes())
	}
	return a, nil
}

// kill ends the child as it is, by kill -9.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// end has the child close its connection and end.
func (p *process) end() error {
	timer := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("child %d: %w: %s", p.cmd.Process.Pid, err, p.stderr.Bytes())
	}
	return nil
}

// maps tells whether the child has the file at path mapped.
func (p *process) maps(path string) bool {
	maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", p.cmd.Process.Pid)) // none: it has ended
	return bytes.Contains(maps, []byte(path+"\n"))
}
