// Package alarm sleeps for less than a millisecond. Go's timers can't where nothing else runs: the runtime then waits in
// epoll_wait(2), which takes whole milliseconds, while it has a timerfd(2) wake it in time, as any file.
package alarm

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An Alarm is for one goroutine. The zero value is ready; it has a descriptor from the first Sleep on.
type Alarm struct{ f *os.File }

// Sleep sleeps for d, and longer where there is no descriptor to be had.
func (a *Alarm) Sleep(d time.Duration) {
	if a.sleep(d) != nil {
		time.Sleep(d)
	}
}

func (a *Alarm) sleep(d time.Duration) error {
	if a.f == nil {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
		if err != nil {
			return err
		}
		a.f = os.NewFile(uintptr(fd), "timerfd")
	}
	conn, err := a.f.SyscallConn()
	if err != nil {
		return err
	}
	if err := conn.Control(func(fd uintptr) { err = set(int(fd), d) }); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return conn.Read(rang)
}

// set has the alarm ring once, after d; 0 would be never.
func set(fd int, d time.Duration) error {
	return unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(max(1, int64(d)))}, nil)
}

// rang tells whether the alarm has rung, and has it forget that.
func rang(fd uintptr) bool {
	var times [8]byte
	_, err := unix.Read(int(fd), times[:])
	return !errors.Is(err, unix.EAGAIN)
}

// Close frees the descriptor.
func (a *Alarm) Close() error {
	if a.f == nil {
		return nil
	}
	return a.f.Close()
}
