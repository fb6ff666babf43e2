package fuse

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// mounting is how a daemon mounts: by its own right, or through fusermount3 (see the package comment).
type mounting interface {
	// open opens all directories of m, outer before inner, below the mounts of weirs.
	open(m *Mounts, cfg Config) error
	// grace is how long to wait for apps that have a database open before it is mounted.
	grace() time.Duration
	// probePassthrough asks whether the kernel would pass a file through.
	probePassthrough(probe *os.File) error
	// mount makes the file system of a directory.
	mount(d *directory) (unserved, error)
	// show has apps see it in the directory, if they do not yet. The flags are of move_mount(2).
	show(d *directory, flags int) error
	// below runs f, which opens files by path, where what is below the mounts on targets has these paths. No app has any
	// of the files open.
	below(targets []string, f func() error) error
	// unmount takes the mount m of a directory away. The error is EBUSY where an app uses it.
	unmount(d *directory, m mountInfo, flags int) error
}

// unserved is a FUSE file system that nobody serves yet.
type unserved struct {
	dev     int // /dev/fuse
	private int // the root of a mount of it by which the daemon may write

	refusing bool     // apps may write by that mount, too: what they change must be refused
	handles  *handles // of apps; nil where the kernel knows whether there are any
}

// around puts before nodes what the mount itself does not do.
func (u unserved) around(nodes fuse.RawFileSystem) fuse.RawFileSystem {
	if u.refusing {
		nodes = refusing{nodes}
	}
	if u.handles != nil {
		nodes = &counted{nodes, u.handles}
	}
	return nodes
}

// close gives the descriptors back.
func (u unserved) close() {
	unix.Close(u.private)
	unix.Close(u.dev)
}

// ErrMayNotMount says that the process lacks the right to mount.
var ErrMayNotMount = errors.New("this process may not mount: it lacks CAP_SYS_ADMIN in the user namespace that its mount namespace belongs to")

// ErrNoFusermount says that there is no fusermount3, by which a process without the right could mount.
var ErrNoFusermount = errors.New("there is no fusermount3 on the PATH")

// chooseMounting takes fusermount3 where the process itself may not mount.
func chooseMounting(logger *slog.Logger) (mounting, error) {
	ctx, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if !errors.Is(err, unix.EPERM) {
		unix.Close(ctx) // another error comes again, and is said then
		return byRight{}, nil
	}
	binary, notFound := exec.LookPath(fusermountName)
	if notFound != nil {
		return nil, fmt.Errorf("%w (fsopen fuse: %w), and %w", ErrMayNotMount, err, ErrNoFusermount)
	}
	return &fusermount{binary: binary, logger: logger}, nil
}

// byRight is a process that may mount.
type byRight struct{}

// open looks below weirs' mounts, and changes nothing yet.
func (byRight) open(m *Mounts, cfg Config) error {
	below, err := weirIsMounted()
	if err != nil {
		return err
	}
	if below {
		err = apart(func() error { return m.openAll(cfg, true) })
	}
	if !below || errors.Is(err, errNotApart) && errors.Is(err, fs.ErrPermission) {
		err = m.openAll(cfg, false) // what is in the way is found then
	}
	if err != nil {
		return err
	}
	return m.checkStale()
}

// grace is none: such an app was there before weir was started.
func (byRight) grace() time.Duration { return 0 }

func (byRight) probePassthrough(probe *os.File) error { return probePassthrough(probe) }

// mount makes a mount that is attached nowhere.
func (byRight) mount(*directory) (unserved, error) { return newMount() }

func (byRight) show(d *directory, flags int) error { return d.sb.attach(d.target, d.readOnly, flags) }

func (byRight) below(targets []string, f func() error) error {
	return apart(func() error {
		for _, target := range targets {
			if err := uncover(target); err != nil {
				return err
			}
		}
		return f()
	})
}

func (byRight) unmount(d *directory, _ mountInfo, flags int) error {
	return unix.Unmount(d.target, flags|unix.UMOUNT_NOFOLLOW)
}
