package fuse

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Process is a process that has files open.
type Process struct {
	PID     int
	Command string // its name, as ps shows it
}

func (p Process) String() string { return fmt.Sprintf("%d (%s)", p.PID, p.Command) }

// BusyError says that processes have files open that must be closed first.
type BusyError struct {
	Path    string // the mounted directory or the database
	Reason  string // why they are in the way
	Holders []Process
}

// Error names the processes and says what to do.
func (e *BusyError) Error() string {
	names := make([]string, len(e.Holders))
	for i, p := range e.Holders {
		names[i] = p.String()
	}
	who := "process " + strings.Join(names, ", ")
	if len(names) == 0 {
		who = "a process that cannot be seen from here"
	}
	return fmt.Sprintf("%s is in use by %s: %s", e.Path, who, e.Reason)
}

// Unwrap makes a BusyError an EBUSY.
func (e *BusyError) Unwrap() error { return syscall.EBUSY }

// holdersOf lists the processes but this one that have a file open for which
// match holds; pid and fd name it under /proc. An fd of "cwd" is the working
// directory.
func holdersOf(match func(pid, fd string) bool) []Process {
	var found []Process
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range dirs {
		pid := filepath.Base(filepath.Dir(dir))
		n, err := strconv.Atoi(pid)
		if err != nil || n == os.Getpid() {
			continue
		}
		if slices.ContainsFunc(openFiles(dir), func(fd string) bool { return match(pid, fd) }) {
			found = append(found, Process{n, command(pid)})
		}
	}
	return found
}

// openFiles lists the entries of /proc/PID/fd, and "cwd".
func openFiles(dir string) []string {
	names := []string{"cwd"}
	fds, _ := os.ReadDir(dir)
	for _, fd := range fds {
		names = append(names, fd.Name())
	}
	return names
}

func command(pid string) string {
	b, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}

// onMount matches files opened through the mount, and working directories in it.
func onMount(m mountInfo) func(pid, fd string) bool {
	want := fmt.Sprintf("mnt_id:\t%d\n", m.id)
	return func(pid, fd string) bool {
		if fd == "cwd" {
			dir, err := os.Readlink("/proc/" + pid + "/cwd")
			return err == nil && (dir == m.path || strings.HasPrefix(dir, m.path+"/"))
		}
		// What is no file has no path. For an epoll instance the kernel would wait for its lock, which its process may hold
		// while it waits for a file system that does not answer.
		path, err := os.Readlink("/proc/" + pid + "/fd/" + fd)
		if err != nil || !strings.HasPrefix(path, "/") {
			return false
		}
		b, err := os.ReadFile("/proc/" + pid + "/fdinfo/" + fd)
		return err == nil && strings.Contains(string(b), want)
	}
}

// fileID is a file, by whatever path or mount it is reached.
type fileID struct {
	devMajor, devMinor uint32
	ino                uint64
}

// identify tells which file is at path. It asks no file system's daemon, which
// may not answer: AT_STATX_DONT_SYNC takes what the kernel knows.
func identify(path string) (id fileID, err error) {
	var st unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_INO, &st)
	return fileID{st.Dev_major, st.Dev_minor, st.Ino}, err
}

// sameFile matches files that are one of those given.
func sameFile(files []fileID) func(pid, fd string) bool {
	return func(pid, fd string) bool {
		id, err := identify("/proc/" + pid + "/fd/" + fd)
		return err == nil && slices.Contains(files, id)
	}
}
