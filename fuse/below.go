package fuse

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// apart runs f on a thread that has mounts of its own: what f mounts and
// unmounts, nobody else sees, and f sees nothing that others mount meanwhile.
func apart(f func() error) error {
	done := make(chan error)
	lookingBelow() <- func() { done <- withOwnMounts(f) }
	return <-done
}

// lookingBelow starts the thread, which is never used for anything else: its
// root and working directory are no longer those of the process. It stays for
// as long as the process, for with a thread that ends the kernel signals
// children that it started once (PR_SET_PDEATHSIG).
var lookingBelow = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go runApart(work)
	return work
})

func runApart(work chan func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// /proc/self shows what the first thread sees. While it is locked here, the
		// other goroutine gets another one.
		begun := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(begun)
			serveApart(work)
		}()
		<-begun
		runtime.UnlockOSThread()
		return
	}
	serveApart(work)
}

func serveApart(work <-chan func()) {
	for f := range work {
		f()
	}
}

// errNotApart says that the thread can't have mounts of its own, so that f was
// not run.
var errNotApart = errors.New("look below a mount")

// withOwnMounts runs f with a mount namespace of the thread's own. The
// descriptors stay common to all threads, so f can hand some on.
func withOwnMounts(f func() error) (err error) {
	leave, err := enterMounts()
	if err != nil {
		return fmt.Errorf("%w: %w", errNotApart, err)
	}
	defer func() { err = errors.Join(err, leave()) }()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private, to look below a mount: %w", err)
	}
	return f()
}

// enterMounts gives the calling thread a mount namespace of its own, until
// leave.
func enterMounts() (leave func() error, err error) {
	common, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(common), unix.Close(root))
	}
	return func() error {
		defer unix.Close(common)
		defer unix.Close(root)
		// Of the common ones, the thread gets the root directory, whatever the process has.
		return errors.Join(unix.Setns(common, unix.CLONE_NEWNS), unix.Fchdir(root), unix.Chroot("."))
	}, nil
}

// weirIsMounted tells whether there is any weir's mount, dead or alive.
func weirIsMounted() (bool, error) {
	all, err := listMounts()
	return slices.ContainsFunc(all, mountInfo.ours), err
}

// uncover takes weirs' mounts on path away. It is for a thread that is apart.
func uncover(path string) error {
	for {
		m, ok, err := mountAt(path)
		if err != nil || !ok || !m.ours() {
			return err
		}
		if err := detach(path); err != nil {
			return err
		}
	}
}

// detach takes the topmost mount on path away at once.
func detach(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

// cloneTree returns a descriptor of the directory at path, and of what is
// mounted in it. All that stays for as long as the descriptor is open.
func cloneTree(path string) (int, error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return -1, fmt.Errorf("open %s below its mount: %w", path, err)
	}
	return tree, nil
}
