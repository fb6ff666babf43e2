package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// remedies are what to do where fusermount3 says so.
var remedies = []struct{ says, do string }{
	{"user has no write access to mountpoint", "give the directory to the user that weir runs as"},
	{"not owned by user", "give the directory to the user that weir runs as: in one that is sticky, as /tmp is, only its owner may mount"},
	{"could not determine username", "give the user that weir runs as a line in /etc/passwd"},
	{"device not found", "load the kernel's module, as root: modprobe fuse; or start the container with --device /dev/fuse"},
	{"/dev/fuse: No such", "load the kernel's module, as root: modprobe fuse; or start the container with --device /dev/fuse"},
	{"/dev/fuse: Permission denied", "give the device to all users, as root: chmod 666 /dev/fuse"},
	{"/dev/fuse: Operation not permitted", "start the container with --device /dev/fuse"},
	{"too many FUSE filesystems", "raise mount_max in /etc/fuse.conf, as root"},
	{"filesystem type", "put the database on another file system: fusermount3 mounts over some only"},
}

// remedy is what to do where fusermount3 has said text; "" where that is not known.
func (f *fusermount) remedy(text string) string {
	for _, r := range remedies {
		if strings.Contains(text, r.says) {
			return "; " + r.do
		}
	}
	if strings.Contains(text, "Operation not permitted") {
		return "; " + f.powerless()
	}
	return ""
}

// powerless says why fusermount3 has no rights to mount by.
func (f *fusermount) powerless() string {
	status, _ := os.ReadFile("/proc/thread-self/status")
	var st unix.Statfs_t
	switch {
	case bytes.Contains(status, []byte("\nNoNewPrivs:\t1\n")):
		return "a setuid program gives this process no rights (no_new_privs): start weir without it, in systemd with NoNewPrivileges=no"
	case !isSetuidRoot(f.binary):
		return fmt.Sprintf("%s is not setuid root: install fuse3 anew, or as root: chown root %[1]s && chmod u+s %[1]s", f.binary)
	case unix.Statfs(f.binary, &st) == nil && st.Flags&unix.ST_NOSUID != 0:
		return fmt.Sprintf("%s is on a file system that is mounted nosuid: remount it with suid", f.binary)
	}
	return "in a container, start that with --device /dev/fuse --cap-add SYS_ADMIN"
}

func isSetuidRoot(path string) bool {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrPermission) {
		return true // as far as is known
	}
	return err == nil && fi.Mode()&fs.ModeSetuid != 0 && fi.Sys().(*syscall.Stat_t).Uid == 0
}
