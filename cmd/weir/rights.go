package main

import (
	"os"
	"strings"
)

// rights is what decides how a process that may not mount could be let.
type rights struct {
	root       bool
	namespaces bool // a user may make user namespaces
}

func rightsOf() rights {
	return rights{
		root: os.Geteuid() == 0,
		namespaces: setting("/proc/sys/user/max_user_namespaces") != "0" &&
			setting("/proc/sys/kernel/unprivileged_userns_clone") != "0" &&
			setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") != "1",
	}
}

// setting is a kernel's setting, "" where it has none.
func setting(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// hint says what to do. fusermount3, which lets other FUSE programs do without rights, makes one mount, and a replica needs
// two of one file system: one for applications, read-only, and one for the daemon.
func (r rights) hint() string {
	const unshare = "unshare --user --map-root-user --mount weir mount ... -- APP"
	switch {
	case r.root:
		return "start the container with --device /dev/fuse --cap-add SYS_ADMIN (where AppArmor is on, also --security-opt apparmor=unconfined); in a user namespace weir needs a mount namespace of its own, too: unshare --mount"
	case r.namespaces:
		return "run weir as root; or, for one application, which weir starts: " + unshare + " (fusermount3 is not enough: weir needs two mounts of one file system)"
	}
	return "run weir as root: users may not make user namespaces on this system, and fusermount3 is not enough (weir needs two mounts of one file system)"
}
