package fuse

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountInfo is a mount as mountinfo has it.
type mountInfo struct {
	id, parent int
	path       string
	fsType     string
}

// ours tells whether it is a weir's.
func (m mountInfo) ours() bool { return m.fsType == fsType }

// listMounts returns the mounts that the calling thread sees.
func listMounts() (all []mountInfo, err error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok {
			all = append(all, m)
		}
	}
	return all, lines.Err()
}

// mountAt finds the topmost mount on path; ok is false where there is none.
func mountAt(path string) (m mountInfo, ok bool, err error) {
	var st unix.Statx_t
	// Whether the mount's own daemon answers does not matter.
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	m, err = mountOf(int(st.Mnt_id))
	return m, err == nil && m.path == path, err
}

// mountOf finds a mount by its number; the zero mountInfo where it is not seen.
func mountOf(id int) (mountInfo, error) {
	all, err := listMounts()
	for _, m := range all {
		if m.id == id {
			return m, nil
		}
	}
	return mountInfo{}, err
}

// parseMount reads a line of mountinfo (proc(5)).
func parseMount(line string) (m mountInfo, ok bool) {
	head, tail, ok := strings.Cut(line, " - ")
	fields, rest := strings.Fields(head), strings.Fields(tail)
	if !ok || len(fields) < 5 || len(rest) < 1 {
		return m, false
	}
	id, err := strconv.Atoi(fields[0])
	parent, err2 := strconv.Atoi(fields[1])
	return mountInfo{id: id, parent: parent, path: unescape(fields[4]), fsType: rest[0]}, err == nil && err2 == nil
}

// unescape undoes the octal escapes of blanks and backslashes in mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
