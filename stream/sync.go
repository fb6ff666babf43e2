package stream

import (
	"errors"
	"fmt"
)

// Sync makes durable all that was appended.
func (l *Log) Sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.beSure(); err != nil {
		return fmt.Errorf("sync log in %s: %w", l.dir.Name(), err)
	}
	dirty, names, err := l.takeDirty()
	for _, s := range dirty {
		err = errors.Join(err, s.file.Sync())
	}
	if names {
		err = errors.Join(err, l.syncDir())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range dirty {
		s.dirty = s.dirty || err != nil
		err = errors.Join(err, s.release())
	}
	l.newNames = l.newNames || names && err != nil
	l.unsure = err != nil
	if err != nil {
		l.makeRoom(err)
		return fmt.Errorf("sync log in %s: %w", l.dir.Name(), err)
	}
	return nil
}

// beSure begins the log anew after a sync that failed. The kernel may have dropped what it could not write, and a second
// fsync of the same file then succeeds (fsync(2), https://lwn.net/Articles/752063/). The positions before are not in the
// log any more: followers that are not at its end get a delta.
func (l *Log) beSure() error {
	l.mu.Lock()
	unsure := l.unsure
	l.mu.Unlock()
	if !unsure {
		return nil
	}
	return l.change(func() error {
		if l.published != l.last() {
			return fmt.Errorf("after a sync that failed: %w", ErrBusy)
		}
		l.opt.Logger.Warn("a sync of the log has failed; the log begins anew", "dir", l.dir.Name(), "pos", l.published)
		if err := l.restart(l.last()); err != nil {
			return err
		}
		l.unsure = false
		return nil
	})
}

// takeDirty acquires the segments that need a sync.
func (l *Log) takeDirty() (dirty []*segment, names bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, false, ErrClosed
	}
	for _, s := range l.segs {
		if !s.dirty {
			continue
		}
		if _, err := s.acquire(l.dir); err != nil {
			return dirty, false, err
		}
		s.dirty = false
		dirty = append(dirty, s)
	}
	names, l.newNames = l.newNames, false
	return dirty, names, nil
}

func (l *Log) syncDir() error {
	d, err := l.dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
