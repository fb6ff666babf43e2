package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fusermountName is the program of fuse3, setuid root, that mounts FUSE file systems for users.
const fusermountName = "fusermount3"

// ErrFusermount says that fusermount3 did not do what it was asked for.
var ErrFusermount = errors.New("fusermount3 has refused")

// fusermount mounts through fusermount3. There is one mount of each file system then, by which the daemon writes, too.
type fusermount struct {
	binary string
	logger *slog.Logger

	patience time.Duration // see grace
	alone    sync.Once     // says that only this user sees the mounts
}

// uncoveredPatience is how long apps have to close what they have opened while no mount was there, not even a dead one.
const uncoveredPatience = 5 * time.Second

func (f *fusermount) grace() time.Duration { return f.patience }

// open takes dead mounts away first: nothing looks below them here. Who opens a database before the new mount is there is
// found when it is, as with one who did before.
func (f *fusermount) open(m *Mounts, cfg Config) error {
	groups := byDirectory(cfg)
	for _, g := range groups { // none is taken away before all can be
		if _, _, err := deadAt(g.path); err != nil {
			return err
		}
	}
	for _, g := range groups {
		if err := f.removeDead(g.path); err != nil {
			return err
		}
	}
	if err := m.openAll(cfg, false); err != nil {
		return err
	}
	for _, d := range m.dirs {
		if outer := m.around(d); outer != nil {
			return fmt.Errorf("%s is in %s: %s can't mount in what weir mounts; give one directory with recursive: true, or run weir as root", d.path, outer.path, fusermountName)
		}
	}
	return nil
}

// deadAt finds the topmost mount of a weir on path, and refuses one that may not be taken away.
func deadAt(path string) (m mountInfo, ok bool, err error) {
	at, err := resolve(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	m, ok, err = mountAt(at)
	if err != nil || !ok || !m.ours() {
		return m, false, err
	}
	return m, true, checkReplaceable(path, m)
}

// removeDead takes the dead mounts of weirs on path away.
func (f *fusermount) removeDead(path string) error {
	for {
		m, ok, err := deadAt(path)
		if err != nil || !ok {
			return err
		}
		f.patience = uncoveredPatience
		if err := f.run("-u", "-z", "--", m.path); err != nil {
			return fmt.Errorf("take the mount of a weir that died away: %w", err)
		}
	}
}

// resolve is path without symbolic links. It may be that of a dead mount.
func resolve(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// probePassthrough knows the answer.
func (f *fusermount) probePassthrough(*os.File) error {
	return fmt.Errorf("%w; %s mounts without", ErrNoPassthrough, fusermountName)
}

// mount has fusermount3 mount on the directory. The gate is closed, and lets the daemon in.
func (f *fusermount) mount(d *directory) (unserved, error) {
	dev, err := f.mountOn(d.target)
	if err != nil {
		return unserved{}, err
	}
	d.attached = true
	private, err := openMounted(d.target)
	if err != nil {
		unix.Close(dev)
		return unserved{}, err
	}
	return unserved{dev: dev, private: private, refusing: d.readOnly, handles: newHandles()}, nil
}

// openMounted opens the root of the mount that is on path.
func openMounted(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open the mount on %s: %w", path, err)
	}
	if m, ok, err := mountAt(path); err != nil || !ok || !m.ours() {
		unix.Close(fd)
		return -1, errors.Join(fmt.Errorf("something else was mounted on %s meanwhile", path), err)
	}
	return fd, nil
}

// mountOn mounts for all users where that is allowed.
func (f *fusermount) mountOn(target string) (dev int, err error) {
	const options = "default_permissions,fsname=weir,subtype=weir"
	dev, err = f.ask(options+",allow_other", target)
	if err == nil || !strings.Contains(err.Error(), "user_allow_other") {
		return dev, err
	}
	f.alone.Do(func() {
		f.logger.Warn("only this user sees the mounts, not even root does; to change that, add the line user_allow_other to /etc/fuse.conf, as root", "uid", os.Getuid())
	})
	return f.ask(options, target)
}

// ask runs fusermount3, which mounts and sends the descriptor of /dev/fuse back through a socket.
func (f *fusermount) ask(options, target string) (dev int, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(ends[0])
	theirs := os.NewFile(uintptr(ends[1]), "fusermount")
	err = f.runWith(theirs, "-o", options, "--", target)
	theirs.Close()
	if err != nil {
		return -1, err
	}
	data, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(ends[0], data, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("receive /dev/fuse from %s: %w", fusermountName, err)
	}
	return descriptor(control[:n])
}

// run runs fusermount3.
func (f *fusermount) run(args ...string) error { return f.runWith(nil, args...) }

// runWith gives it a socket, unless that is nil. What it prints is in the error.
func (f *fusermount) runWith(socket *os.File, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.Command(f.binary, args...)
	cmd.Stderr, cmd.Dir = &stderr, "/"
	if socket != nil {
		cmd.ExtraFiles = []*os.File{socket} // the first is descriptor 3
		cmd.Env = append(cmd.Environ(), "_FUSE_COMMFD=3")
	}
	err := cmd.Run()
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(strings.ReplaceAll(stderr.String(), f.binary+": ", ""))
	return fmt.Errorf("%w: %s (%w)%s", ErrFusermount, text, err, f.remedy(text))
}

// show has nothing to do: the mount is there from the beginning.
func (*fusermount) show(*directory, int) error { return nil }

// below runs f at once: the file systems show what is below, and no app has passed their gates.
func (*fusermount) below(_ []string, f func() error) error { return f() }

// unmount takes the mount away lazily, for the daemon has files of it open. So it looks by itself whether others have, and
// keeps them from it meanwhile.
func (f *fusermount) unmount(d *directory, m mountInfo, flags int) error {
	if flags&unmountLazily != 0 || d.sb == nil {
		return f.run("-u", "-z", "--", d.target)
	}
	all, err := listMounts()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(other mountInfo) bool { return other.parent == m.id }) || len(holdersOf(onMount(m))) > 0 {
		return unix.EBUSY
	}
	if !d.sb.handles.hold() {
		return unix.EBUSY
	}
	err = f.run("-u", "-z", "--", d.target)
	d.sb.handles.release(err == nil)
	return err
}
