package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit codes of a command that could not be started, as a shell's.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// stopSignals ask weir to end.
var stopSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM}

func isStop(sig os.Signal) bool { return sig == syscall.SIGINT || sig == syscall.SIGTERM }

// forwardedSignals go to the command: all that can be caught, but those that concern weir's own process: faults,
// SIGCHLD, SIGPIPE, SIGPROF and SIGURG (the Go runtime sends it to itself), and SIGTTIN and SIGTTOU (our terminal).
func forwardedSignals() []os.Signal {
	signals := []os.Signal{
		syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGCONT,
		syscall.SIGTSTP, syscall.SIGWINCH, syscall.SIGIO, syscall.SIGPWR, syscall.SIGVTALRM, syscall.SIGXCPU,
		syscall.SIGXFSZ,
	}
	for rt := syscall.Signal(35); rt <= 64; rt++ {
		signals = append(signals, rt)
	}
	return append(signals, stopSignals...)
}

// catchSignals returns the signals that weir acts on; with a command, also those that it forwards.
func catchSignals(command bool) (signals <-chan os.Signal, release func()) {
	wanted := append([]os.Signal{syscall.SIGHUP}, stopSignals...)
	if command {
		wanted = forwardedSignals()
	}
	ch := make(chan os.Signal, 64)
	for _, sig := range wanted {
		// What nohup or a shell's background job ignores stays ignored.
		if !signal.Ignored(sig) {
			signal.Notify(ch, sig)
		}
	}
	// A log whose reader went away must not kill the daemon and leave its mounts. Ignoring SIGPIPE would pass on to
	// the command.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	return ch, func() {
		signal.Stop(ch)
		signal.Stop(pipe)
	}
}

// child is the command that weir runs, in a process group of its own.
type child struct {
	cmd   *exec.Cmd
	tty   *os.File // the terminal that the command has, nil: none
	ended chan int // gets the exit code, once
}

// startChild starts command. If weir has a terminal in the foreground, the command gets it, so that ctrl-C and the
// like reach the command alone and it can read.
func startChild(command []string, std stdio) (*child, error) {
	c := &child{cmd: exec.Command(command[0], command[1:]...), ended: make(chan int, 1)}
	c.cmd.Stdout, c.cmd.Stderr = std.out, std.err
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if std.in != nil {
		c.cmd.Stdin = std.in
	}
	if hasForeground(std.in) {
		c.tty = std.in
		c.cmd.SysProcAttr.Foreground = true
		c.cmd.SysProcAttr.Ctty = int(std.in.Fd())
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go c.wait()
	return c, nil
}

// startCode is the exit code that a shell has for a command that could not be started.
func startCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// wait collects the command's end and takes the terminal back.
func (c *child) wait() {
	c.cmd.Wait() // what it says beyond the state, childCode does not need
	if c.tty != nil {
		// A process in the background that takes the terminal is stopped by SIGTTOU otherwise.
		signal.Ignore(syscall.SIGTTOU)
		unix.IoctlSetPointerInt(int(c.tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	}
	c.ended <- childCode(c.cmd.ProcessState)
}

// childCode is the command's exit code.
func childCode(state *os.ProcessState) int {
	if state == nil {
		return exitFailure
	}
	if ws := state.Sys().(syscall.WaitStatus); ws.Signaled() {
		return killedBy(ws.Signal())
	}
	return state.ExitCode()
}

// killedBy is the exit code that stands for an end by sig; 0 for none.
func killedBy(sig os.Signal) int {
	if sig, ok := sig.(syscall.Signal); ok {
		return 128 + int(sig)
	}
	return 0
}

// signal passes sig on. A command that has just ended is no error.
func (c *child) signal(sig os.Signal) { c.cmd.Process.Signal(sig) }

// kill kills the command and what it started in its process group.
func (c *child) kill() { unix.Kill(-c.pid(), unix.SIGKILL) }

// hasForeground says whether f is a terminal whose foreground process group is ours.
func hasForeground(f *os.File) bool {
	if f == nil {
		return false
	}
	pgrp, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}
