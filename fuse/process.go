package fuse

import (
	"bufio"
	"errors"
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

// mountInfo is a mount as /proc/self/mountinfo has it.
type mountInfo struct {
	id     int
	path   string
	fsType string
}

// mountAt finds the topmost mount on path; ok is false where there is none.
func mountAt(path string) (m mountInfo, ok bool, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return m, false, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if at, good := parseMount(lines.Text()); good && at.path == path {
			m, ok = at, true
		}
	}
	return m, ok, nil
}

// parseMount reads a line of mountinfo (proc(5)).
func parseMount(line string) (m mountInfo, ok bool) {
	head, tail, ok := strings.Cut(line, " - ")
	fields, rest := strings.Fields(head), strings.Fields(tail)
	if !ok || len(fields) < 5 || len(rest) < 1 {
		return m, false
	}
	id, err := strconv.Atoi(fields[0])
	return mountInfo{id: id, path: unescape(fields[4]), fsType: rest[0]}, err == nil
}

// unescape undoes the octal escapes of blanks and backslashes in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

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

// replaceStale takes away the mount of a dead daemon on path, if there is one.
func replaceStale(path string) error {
	for {
		m, ok, err := mountAt(path)
		if err != nil || !ok || m.fsType != fsType {
			return err
		}
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); !errors.Is(err, unix.ENOTCONN) {
			return fmt.Errorf("%s is mounted by another weir that is running; stop that one first", path)
		}
		if holders := holdersOf(onMount(m)); len(holders) > 0 {
			return &BusyError{Path: path, Holders: holders, Reason: "it still has files open on the mount of a weir that died; restart it, then start weir again"}
		}
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount the stale mount on %s: %w", path, err)
		}
	}
}
