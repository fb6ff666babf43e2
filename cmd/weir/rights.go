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

// hint says what to do.
func (r rights) hint() string {
	const install = "install fuse3, whose fusermount3 mounts for users; or run weir as root"
	switch {
	case r.root:
		return "start the container with --device /dev/fuse --cap-add SYS_ADMIN (where AppArmor is on, also --security-opt apparmor=unconfined); in a user namespace weir needs a mount namespace of its own, too: unshare --mount"
	case r.namespaces:
		return install + "; or, for one application, which weir starts: unshare --user --map-root-user --mount weir mount ... -- APP"
	}
	return install
}
