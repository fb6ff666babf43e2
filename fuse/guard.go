package fuse

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// deathSignal tells the guard that the daemon may have been killed.
const deathSignal = unix.SIGUSR1

// guard is the process that aborts the daemon's file systems when the daemon is
// killed (see the package comment).
type guard struct {
	command func() *exec.Cmd // nil: no guard is wanted
	logger  *slog.Logger

	failed bool      // there is none, and that was said
	cmd    *exec.Cmd // nil: none is running
	socket int       // the other end is the guard's standard input
	stop   chan struct{}
	ended  chan struct{} // closed when the process has been waited for
}

// watch has the guard abort s, too. Without a guard the daemon goes on.
func (g *guard) watch(s *superblock) {
	if g.command == nil || g.failed {
		return
	}
	if err := g.tryWatch(s); err != nil {
		g.failed = true
		g.logger.Warn("there is no guard: a weir that is killed by kill -9 may hang, and with it all who use its mounts", "err", err)
	}
}

func (g *guard) tryWatch(s *superblock) error {
	abort, err := openAbort(s)
	if err != nil {
		return err
	}
	defer unix.Close(abort)
	if g.cmd == nil {
		if err := g.start(); err != nil {
			return fmt.Errorf("start the guard: %w", err)
		}
	}
	if err := g.hand(abort); err != nil {
		g.end()
		return fmt.Errorf("ask the guard: %w", err)
	}
	return nil
}

// answerTimeout bounds, in seconds, the wait for a guard that is being started.
const answerTimeout = 30

// start starts the process in a session of its own, so that what a terminal
// sends to the daemon does not reach it.
func (g *guard) start() error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	stdin := os.NewFile(uintptr(ends[1]), "guard")
	defer stdin.Close()
	cmd := g.command()
	cmd.Stdin, cmd.Stderr, cmd.Dir = stdin, os.Stderr, "/"
	cmd.Env = append(cmd.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: deathSignal}
	g.stop, g.ended = make(chan struct{}), make(chan struct{})
	started := make(chan error)
	go g.run(cmd, started)
	err = <-started
	if err == nil {
		err = unix.SetsockoptTimeval(ends[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: answerTimeout})
		g.cmd, g.socket = cmd, ends[0]
	}
	if err != nil {
		unix.Close(ends[0])
	}
	return err
}

// run is the process's parent. The kernel signals a child when the thread ends
// that started it, so this one stays until the child has ended.
func (g *guard) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(g.ended)
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	err = cmd.Wait()
	select {
	case <-g.stop:
	default:
		g.logger.Warn("the guard has ended: a weir that is killed by kill -9 may hang from now on", "err", err)
	}
}

// hand gives the process a file to write to, and waits until it has it.
func (g *guard) hand(abort int) error {
	if err := unix.Sendmsg(g.socket, []byte{0}, unix.UnixRights(abort), nil, unix.MSG_NOSIGNAL); err != nil {
		return err
	}
	answer := make([]byte, 1)
	n, err := uninterrupted(func() (int, error) { return unix.Read(g.socket, answer) })
	if err == nil && n == 0 {
		err = errors.New("it has ended")
	}
	return err
}

// end ends the process. The file systems have ended by then.
func (g *guard) end() {
	if g.cmd == nil {
		return
	}
	close(g.stop)
	g.cmd.Process.Kill() // or it has ended by itself
	<-g.ended
	unix.Close(g.socket)
	g.cmd = nil
}

// uninterrupted repeats a system call that a signal interrupts.
func uninterrupted(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// controlPath is where systems have the fusectl file system mounted.
const controlPath = "/sys/fs/fuse/connections"

// openAbort opens the file of the fusectl file system that aborts s when it is
// written to. It belongs to s, whatever gets the number of s afterwards.
func openAbort(s *superblock) (int, error) {
	var st unix.Statx_t
	// The number is known without asking the server.
	if err := unix.Statx(s.private, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, 0, &st); err != nil {
		return -1, fmt.Errorf("number of the file system: %w", err)
	}
	dir, missing := mountControl()
	if missing != nil {
		var err error
		if dir, err = unix.Open(controlPath, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return -1, errors.Join(missing, err)
		}
	}
	defer unix.Close(dir)
	name := fmt.Sprintf("%d/abort", st.Dev_minor)
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errors.Join(missing, fmt.Errorf("open %s of fusectl: %w", name, err))
	}
	return fd, nil
}

// mountControl makes a mount of fusectl that is attached nowhere.
func mountControl() (int, error) {
	ctx, err := unix.Fsopen("fusectl", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen fusectl: %w", err)
	}
	defer unix.Close(ctx)
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("create fusectl: %w", err)
	}
	dir, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsmount fusectl: %w", err)
	}
	return dir, nil
}
