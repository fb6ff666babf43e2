package oracle

import (
	"errors"
	"fmt"
	"time"

	"weir/fuse/fusetest"
)

// remount ends all writers and readers, takes both mounts away and mounts them again. A statement in between is one
// that weir does not see.
func (p *pair) remount(statement string) (a fusetest.Answer, err error) {
	err = errors.Join(p.mounted.end(), p.plain.end(), p.releaseAll(), p.endReaders(), p.Unmount())
	if err != nil {
		return a, err
	}
	if statement != "" {
		if a, err = p.unseen(statement); err != nil {
			return a, err
		}
	}
	return a, p.Mount()
}

// unseen runs a statement on both twins by a process that lives no longer.
func (p *pair) unseen(statement string) (a fusetest.Answer, err error) {
	for _, o := range []op{{0, "open", ""}, {0, "sql", statement}} {
		if a, err = both(&p.mounted, &p.plain, o); err != nil {
			return a, err
		}
	}
	return a, errors.Join(p.mounted.end(), p.plain.end())
}

// restart does the same to the replica alone. A statement changes the replica's database while nobody guards it; weir
// has to find that and undo it.
func (p *pair) restart(statement string) error {
	if err := errors.Join(p.releaseAll(), p.endReaders(), p.Replica.Unmount()); err != nil {
		return err
	}
	if statement != "" && p.followed[0].last.size > 0 {
		for _, f := range p.followed {
			f.expectDelta()
		}
		defer p.Warnings.Take()
		if err := spoil(p.Replica.Path(databases[0]), statement); err != nil {
			return err
		}
	}
	if err := p.MountReplica(); err != nil {
		return err
	}
	if statement == "" {
		return p.checkImmutable(p.followed[0])
	}
	return p.awaitUnspoilt(p.followed[0])
}

// checkImmutable has a reader look at the database's file alone, which is right while nothing has come since the mount.
func (p *pair) checkImmutable(f *followed) error {
	if f.last.size == 0 || f.pending {
		return nil
	}
	proc, err := fusetest.Start()
	if err != nil {
		return err
	}
	defer proc.Kill()
	r := &reader{proc: proc}
	if _, err := proc.Ask("open", uri(p.Replica.Path(f.Name), "immutable=1")); err != nil {
		return err
	}
	got, err := r.see()
	if err == nil {
		err = fusetest.Diff(got, f.last.seen())
	}
	if err != nil {
		return fmt.Errorf("a reader with immutable=1: %w", err)
	}
	return r.sql("PRAGMA integrity_check")
}

// awaitUnspoilt waits until a reader sees the right state again.
func (p *pair) awaitUnspoilt(f *followed) (err error) {
	for deadline := time.Now().Add(*flagLate); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err = p.checkReaders(f); err == nil {
			return nil
		}
	}
	return err
}

func spoil(path, statement string) error {
	proc, err := fusetest.Start()
	if err != nil {
		return err
	}
	a, err := proc.Ask("open", uri(path, ""))
	if err == nil && a.Err == "" {
		_, err = proc.Ask("sql", statement)
	}
	// What SQLite answers is of no matter: the statement may fail.
	return errors.Join(err, proc.End())
}
