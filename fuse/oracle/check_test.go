package oracle

import (
	"errors"
	"fmt"
	"path/filepath"

	"weir/fuse/fusetest"
	"weir/stream"
)

// do carries out one operation and checks everything after it.
func (p *pair) do(o op) (a fusetest.Answer, err error) {
	if o.byReader() {
		return a, p.read(o)
	}
	switch o.verb {
	case "remount":
		a, err = p.remount(o.arg)
	case "restart":
		err = p.restart(o.arg)
	case "crash":
		err = p.crash(o)
	default:
		a, err = both(&p.mounted, &p.plain, o)
	}
	if err != nil {
		return a, err
	}
	if o.verb == "files" || o.verb == "restore" {
		if err := p.replaceFiles(); err != nil {
			return a, err
		}
	}
	if o.verb == "shoot" {
		for _, f := range p.followed {
			if err := p.reconcile(f.Name); err != nil {
				return a, fmt.Errorf("%s: %w", f.Name, err)
			}
		}
	}
	wasLoose := p.isLoose()
	p.loosen(o, a)
	p.mayBeLate = wasLoose || p.isLoose()
	for i, f := range p.followed {
		f.replaced = o.verb == "files"
		if i == 0 && f.replaced && o.arg == "rename" && f.last.size > 0 {
			f.passing = 2 // gone, and back
		}
		if err := p.check(f); err != nil {
			return a, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return a, p.warned()
}

// check compares one database everywhere with the twin's.
func (p *pair) check(f *followed) error {
	now, err := readState(filepath.Join(p.plain.dir, f.Name), p.plain.indexed(f.Name))
	if errors.Is(err, errUnsettled) && p.inTxn == [writers]bool{} {
		if f.rolled, err = p.rolledBack(f.Name); err == nil {
			now = f.last
		}
	} else if errors.Is(err, errUnsettled) || p.unsettled(f) {
		now, err = f.last, nil
	}
	if err != nil {
		return fmt.Errorf("the twin: %w", err)
	}
	commits := f.commits(now)
	resized := now.size > 0 && now.pageSize != f.pageSize && f.pageSize != 0
	if now.size > 0 {
		f.pageSize = now.pageSize
	}
	f.last = now
	f.committed[now.sums.Total()] = true
	var pos stream.Pos
	if p.mayBeLate || f.pending || f.replaced {
		pos, err = f.awaitLoose(!p.mayBeLate && (commits > 0 || f.replaced))
	} else {
		pos, err = f.awaitPrimary(commits)
	}
	if err != nil {
		return fmt.Errorf("the primary's stream: %w", err)
	}
	if resized {
		// A replica replaces the whole database then. It waits for readers to end their transactions.
		if err := p.releaseAll(); err != nil {
			return err
		}
	}
	if err := f.awaitReplica(pos); err != nil {
		return fmt.Errorf("the replica's stream: %w", err)
	}
	if err := f.checkBreaks(); err != nil {
		return err
	}
	if resized || p.mayBeLate {
		p.Warnings.Forgive("page size")
		p.Warnings.Forgive("turned away")
	}
	if f.pending {
		return nil
	}
	return p.checkReaders(f)
}

// commits counts the commits that led to a state. One that changes no page is no transaction, but a rollback of a hot
// journal that changes free pages is one of its own.
func (f *followed) commits(now *state) (n int) {
	last := f.last
	if f.rolled != nil && now != f.last {
		if fusetest.Diff(f.rolled.sums, last.sums) != nil {
			n++
		}
		f.committed[f.rolled.sums.Total()] = true
		last, f.rolled = f.rolled, nil
	}
	if fusetest.Diff(now.sums, last.sums) != nil {
		n++
	}
	return n
}

// awaitPrimary waits for the primary to have captured what the twin committed.
func (f *followed) awaitPrimary(commits int) (pos stream.Pos, err error) {
	want := f.txid + stream.TXID(commits)
	err = f.Primary.Await(*flagLate, func() error {
		if _, pos = f.Primary.Pos(); pos.TXID < want {
			return f.explain()
		}
		return nil
	})
	if err == nil && pos.TXID != want {
		err = fmt.Errorf("transactions up to %s, want up to %s (%d commits): %w", pos.TXID, want, commits, f.explain())
	}
	if err != nil {
		return pos, err
	}
	f.txid, f.compared = want, want
	return pos, f.compare()
}

// compare compares the primary's stream with the twin's last state.
func (f *followed) compare() error {
	pos, got := f.Primary.State()
	err := fusetest.Diff(got, f.last.sums)
	if err == nil {
		return nil
	}
	var where string
	if e, ok := errors.AsType[*fusetest.PageError](err); ok {
		where = fmt.Sprintf(", from byte %d on", firstDiff(f.Primary.Page(e.Pgno), f.last.pages[e.Pgno]))
	}
	return fmt.Errorf("at %s, compared with the plain file: %w%s", pos, err, where)
}

// explain says how the primary's stream stands to the twin's state, which it should have by another TXID.
func (f *followed) explain() error {
	if err := f.compare(); err != nil {
		return err
	}
	_, pos := f.Primary.Pos()
	return fmt.Errorf("at %s, with the right pages", pos)
}

// awaitReplica waits for the replica's stream to lead to the primary's position.
func (f *followed) awaitReplica(want stream.Pos) error {
	err := f.Replica.Await(*flagLate, func() error {
		if _, got := f.Replica.Pos(); got.TXID < want.TXID {
			return fmt.Errorf("at %s, the primary's is at %s", got, want)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, got := f.Replica.Pos(); got != want {
		return fmt.Errorf("at %s, the primary's is at %s", got, want)
	}
	return nil
}

// checkBreaks requires that both streams went on, but where the page size changes: there a replica begins a new log.
func (f *followed) checkBreaks() error {
	if deltas, _ := f.Primary.Breaks(); deltas > 0 {
		return errors.New("the primary's stream broke off")
	}
	if deltas, _ := f.Replica.Breaks(); deltas > f.deltas {
		return errors.New("the replica's stream broke off")
	}
	return nil
}

// expectDelta lets the replica's stream break off once.
func (f *followed) expectDelta() {
	deltas, _ := f.Replica.Breaks()
	f.deltas = deltas + 1
}
