package oracle

import (
	"errors"

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
	if err := p.MountReplica(); err != nil || statement == "" {
		return err
	}
	if err := p.AwaitShown(databases[0]); err != nil { // as it was, and not before
		return err
	}
	return p.checkReaders(p.followed[0])
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
