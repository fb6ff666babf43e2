package fuse

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// busyPause and busyTries bound the wait for what holds a mount only for a
// moment: somebody's look at /proc, or the end of a process.
const (
	busyPause = 50 * time.Millisecond
	busyTries = 20
)

// unmount takes the mount away. EBUSY becomes a [BusyError].
func (d *directory) unmount(flags int) error {
	if !d.attached {
		return nil
	}
	m, mounted, err := mountAt(d.target)
	if err != nil || !mounted || !m.ours() {
		return err
	}
	var busy *BusyError
	for range busyTries {
		err := d.mounting.unmount(d, m, flags)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		busy = &BusyError{Path: d.path, Holders: holdersOf(onMount(m)), Reason: "close the files it has open there, or its working directory"}
		if len(busy.Holders) > 0 {
			break
		}
		time.Sleep(busyPause)
	}
	return busy
}

// close ends the file system, the databases and everything else. The mount is
// gone by then, or was never there.
func (d *directory) close() error {
	var errs []error
	for _, db := range d.applies {
		errs = append(errs, db.Close())
	}
	d.inside.through(nil)
	for _, l := range d.locks {
		errs = append(errs, l.Close())
	}
	if d.sb != nil {
		d.sb.release()
		d.sb.wait(after(closeTimeout))
	}
	if d.watcher != nil {
		errs = append(errs, d.watcher.close())
	}
	for _, db := range d.captures {
		errs = append(errs, db.Close())
	}
	for _, f := range []*os.File{d.backing, d.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	if d.tree >= 0 {
		errs = append(errs, unix.Close(d.tree))
	}
	return errors.Join(errs...)
}

// closeTimeout bounds the wait for a lazily unmounted file system to end.
const closeTimeout = 2 * time.Second

func after(t time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(context.Background(), t)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}
