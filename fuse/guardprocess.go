package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// RunGuard is what the process does that [Config.Guard] starts. It returns when
// the daemon, its parent, is dead, or is dying and can't end by itself.
func RunGuard() error {
	died := make(chan os.Signal, 1)
	signal.Notify(died, deathSignal)
	// A service manager may ask all of a service's processes to end. The guard ends with the daemon.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR2)
	closeInherited()
	os.WriteFile("/proc/self/comm", []byte("weir guard"), 0) // for ps; nothing depends on it
	files, ended := make(chan int), make(chan error, 1)
	go func() { ended <- receive(files) }()
	held, err := awaitDeath(files, ended, died)
	return errors.Join(abort(held), err)
}

// After the signal the daemon is looked at until it is known to be dying: so
// often, at such intervals.
const (
	deathLooks = 300
	deathPause = 100 * time.Millisecond
)

// awaitDeath collects files to abort file systems by, until it is time for that:
// ended says that the daemon's descriptors are closed, and died that it may be
// dying.
func awaitDeath(files <-chan int, ended <-chan error, died <-chan os.Signal) (held []int, err error) {
	daemon := os.Getppid()
	look := time.NewTicker(deathPause)
	look.Stop()
	for looks := 0; ; looks-- {
		select {
		case fd := <-files:
			held = append(held, fd)
			continue
		case err := <-ended:
			return held, err
		case <-died:
			looks = deathLooks
			look.Reset(deathPause)
		case <-look.C:
		}
		if os.Getppid() != daemon || doomed(daemon) {
			return held, nil
		}
		if looks <= 0 {
			look.Stop()
		}
	}
}

// receive takes files from standard input and answers each.
func receive(files chan<- int) error {
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	for {
		var got int // of control
		n, err := uninterrupted(func() (n int, err error) {
			n, got, _, _, err = unix.Recvmsg(0, data, control, unix.MSG_CMSG_CLOEXEC)
			return n, err
		})
		if errors.Is(err, unix.ENOTSOCK) {
			return errors.New("weir mount starts this by itself")
		}
		if err != nil || n == 0 {
			return err
		}
		fd, err := descriptor(control[:got])
		if err != nil {
			return err
		}
		files <- fd
		if _, err := uninterrupted(func() (int, error) { return unix.Write(0, data) }); err != nil {
			return err
		}
	}
}

// descriptor returns the one that a control message brings.
func descriptor(control []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return -1, err
	}
	if len(messages) != 1 {
		return -1, fmt.Errorf("got %d control messages, want 1", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// abort aborts file systems. It does nothing to those that have ended.
func abort(files []int) error {
	var errs []error
	for _, fd := range files {
		if _, err := uninterrupted(func() (int, error) { return unix.Write(fd, []byte("1")) }); err != nil {
			errs = append(errs, fmt.Errorf("abort the file system of a weir that was killed: %w", err))
		}
	}
	return errors.Join(errs...)
}

// doomed tells whether a process has been killed and is not yet gone: then the
// threads that have not ended have SIGKILL pending, which none can block.
func doomed(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, status := range threads {
		text, _ := os.ReadFile(status) // none: it has ended
		_, rest, _ := bytes.Cut(text, []byte("\nSigPnd:\t"))
		mask, _, _ := bytes.Cut(rest, []byte("\n"))
		pending, err := strconv.ParseUint(string(mask), 16, 64)
		if err == nil && pending&(1<<(unix.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}

// closeInherited closes what the daemon had open without the close-on-exec flag,
// such as files that an app opened without it. What has it is the Go runtime's.
func closeInherited() {
	open, _ := os.ReadDir("/proc/self/fd")
	for _, e := range open {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}
