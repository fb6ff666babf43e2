package fuse

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// aliveTimeout is how long the daemon of a mount that is in the way has to show
// that it lives.
const aliveTimeout = 5 * time.Second

// checkStale finds the mounts of a dead daemon on the directory.
func (d *directory) checkStale() error {
	all, err := listMounts()
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(m mountInfo) bool { return !m.ours() || m.path != d.target })
	if d.stale = len(all) > 0; !d.stale {
		return nil
	}
	return checkReplaceable(d.path, all...)
}

// checkReplaceable refuses mounts on the directory at path that are alive, or that processes have files open on.
func checkReplaceable(path string, all ...mountInfo) error {
	if err := checkDead(all[0].path); err != nil {
		return err
	}
	for _, m := range all {
		if holders := holdersOf(onMount(m)); len(holders) > 0 {
			return &BusyError{Path: path, Holders: holders, Reason: "it still has files open on the mount of a weir that died; restart it, then start weir again"}
		}
	}
	return nil
}

// checkDead asks what is mounted on path, which may not answer.
func checkDead(path string) error {
	answer := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(path, &st)
	}()
	select {
	case err := <-answer:
		if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED) {
			return nil
		}
		return fmt.Errorf("%s is mounted by another weir that is running; stop that one first", path)
	case <-time.After(aliveTimeout):
		return fmt.Errorf("%s is mounted by another weir that does not answer; end that one first", path)
	}
}

// replaceStale mounts the directory in the place of a dead mount, if there is
// one. Nobody gets to see what is below both, where the kernel can do that
// (Linux 6.5).
func (d *directory) replaceStale() error {
	for d.stale {
		top, ok, err := mountAt(d.target)
		if err != nil {
			return err
		}
		if !ok || !top.ours() { // it went with the one around it
			d.stale = false
			return d.attach(0)
		}
		under, err := mountOf(top.parent)
		if err != nil {
			return err
		}
		if under.path != top.path || !under.ours() {
			d.stale = false
			return d.replaceLast()
		}
		if err := detach(d.target); err != nil {
			return err
		}
	}
	return nil
}

// moveMountBeneath attaches a mount below the topmost one (move_mount(2)).
const moveMountBeneath = 0x200

// replaceLast replaces the only dead mount.
func (d *directory) replaceLast() error {
	err := d.attach(moveMountBeneath)
	if errors.Is(err, unix.EINVAL) {
		return d.replaceVisibly()
	}
	if err != nil {
		return err
	}
	return detach(d.target)
}

// replaceVisibly replaces the only dead mount, and refuses who came in between.
func (d *directory) replaceVisibly() error {
	if err := detach(d.target); err != nil {
		return err
	}
	if err := d.attach(0); err != nil {
		return err
	}
	for _, name := range d.databases() {
		if err := d.checkUnused(name); err != nil {
			return err
		}
	}
	return nil
}
