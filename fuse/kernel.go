package fuse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"weir/stream"
)

// fsType is what a mount of ours is called in /proc/self/mountinfo.
const fsType = "fuse.weir"

// forever is the timeout of what only changes with our knowledge.
const forever = 24 * time.Hour

// superblock is one FUSE file system and a mount of it by which the daemon may
// write: a private one that is attached nowhere, where the daemon may mount.
type superblock struct {
	server  *fuse.Server
	serving chan struct{} // closed when the server has ended
	private int           // descriptor of that mount's root, or -1
	handles *handles      // see unserved
	gate    *gate
}

// newSuperblock starts to serve a file system, with its gate closed.
func newSuperblock(of unserved, root fs.InodeEmbedder, releases *barrier, attrTimeout time.Duration, passthrough bool, logger *slog.Logger) (*superblock, error) {
	entry := forever
	opt := &fs.Options{AttrTimeout: &attrTimeout, EntryTimeout: &entry, NegativeTimeout: &entry, NullPermissions: true}
	opt.ExplicitDataCacheControl = true
	opt.MaxWrite = 1 << 20
	opt.DisableSplice = true // files are read into memory; see openFile
	// Without these the kernel asks for security.capability before it writes to a
	// file, and for the attributes before it changes an owner. The mount is nosuid,
	// so nothing gains rights by a file that keeps them.
	opt.DisableXAttrs = !of.refusing // or nobody is asked who sets one
	opt.ExtraCapabilities = fuse.CAP_HANDLE_KILLPRIV_V2
	if logger.Enabled(context.Background(), stream.LevelTrace) {
		opt.Debug, opt.MountOptions.Logger = true, slog.NewLogLogger(logger.Handler(), stream.LevelTrace)
	}
	if !passthrough {
		opt.DisabledCapabilities = fuse.CAP_PASSTHROUGH
	}
	gate := newGate()
	server, err := fuse.NewServer(&gated{of.around(fs.NewNodeFS(root, opt)), gate, releases}, fmt.Sprintf("/dev/fd/%d", of.dev), &opt.MountOptions)
	if err != nil {
		of.close()
		return nil, fmt.Errorf("serve fuse: %w", err)
	}
	s := &superblock{server: server, serving: make(chan struct{}), private: of.private, handles: of.handles, gate: gate}
	go func() {
		defer close(s.serving)
		server.Serve()
	}()
	if err := server.WaitMount(); err != nil {
		return s, err
	}
	return s, s.refusePolls()
}

// pollName is an entry of the root that package fuse answers for: it says that
// there is no poll(2) here, which the kernel remembers.
const pollName = ".go-fuse-epoll-hack"

// refusePolls has the kernel learn that no file of s is polled. Else the Go
// runtime polls each file that a Go program opens, and holds a processor while it
// waits for the answer. Where that program serves the mount itself, as tests do,
// none may be left to answer with.
func (s *superblock) refusePolls() error {
	fd, err := s.open(pollName, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = uninterrupted(func() (int, error) {
		return unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLOUT}}, 0)
	})
	return err
}

// deviceError says of an error of opening /dev/fuse what to do about it.
func deviceError(err error) error {
	switch {
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("open /dev/fuse: %w: user %d may not open the device; as root, give it to all users: chmod 666 /dev/fuse", err, os.Geteuid())
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("open /dev/fuse: %w: this container may not use the device; start it with --device /dev/fuse", err)
	}
	return fmt.Errorf("open /dev/fuse: %w: load the kernel's module (modprobe fuse), or start the container with --device /dev/fuse", err)
}

// newMount makes a FUSE file system, and a mount of it that is attached nowhere.
func newMount() (unserved, error) {
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return unserved{}, deviceError(err)
	}
	private, err := newMountOf(dev)
	if err != nil {
		unix.Close(dev)
	}
	return unserved{dev: dev, private: private}, err
}

// newMountOf makes it by fsopen(2) and fsmount(2).
func newMountOf(dev int) (int, error) {
	ctx, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen fuse: %w (is the fuse kernel module loaded?)", err)
	}
	defer unix.Close(ctx)
	for _, kv := range [][2]string{
		{"source", "weir"}, {"subtype", "weir"}, {"fd", fmt.Sprint(dev)}, {"rootmode", "40000"},
		{"user_id", fmt.Sprint(os.Geteuid())}, {"group_id", fmt.Sprint(os.Getegid())},
	} {
		if err := unix.FsconfigSetString(ctx, kv[0], kv[1]); err != nil {
			return -1, fmt.Errorf("configure fuse mount, %s: %w", kv[0], err)
		}
	}
	for _, flag := range []string{"allow_other", "default_permissions"} {
		if err := unix.FsconfigSetFlag(ctx, flag); err != nil {
			return -1, fmt.Errorf("configure fuse mount, %s: %w", flag, err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("create fuse file system: %w", err)
	}
	m, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, fmt.Errorf("fsmount: %w", err)
	}
	return m, nil
}

// attach shows the file system at path; the private mount stays writable. The
// flags are of move_mount(2).
func (s *superblock) attach(path string, readOnly bool, flags int) error {
	m, err := unix.OpenTree(s.private, "", unix.AT_EMPTY_PATH|unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("clone mount: %w", err)
	}
	defer unix.Close(m)
	if readOnly {
		if err := unix.MountSetattr(m, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return fmt.Errorf("make mount read-only: %w", err)
		}
	}
	if err := unix.MoveMount(m, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH|flags); err != nil {
		return fmt.Errorf("mount on %s: %w", path, err)
	}
	return nil
}

// open opens a file through the private mount.
func (s *superblock) open(name string, mode int) (int, error) {
	fd, err := unix.Openat(s.private, name, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s in the private mount: %w", name, err)
	}
	return fd, nil
}

// release lets go of the private mount; the file system ends with the last
// mount and open file of it.
func (s *superblock) release() {
	if s.private >= 0 {
		unix.Close(s.private)
		s.private = -1
	}
}

// wait waits until the file system has ended.
func (s *superblock) wait(done <-chan struct{}) {
	select {
	case <-s.serving:
	case <-done:
	}
}
