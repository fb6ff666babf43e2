package oracle

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"weir/stream"
)

// do carries out one operation and checks everything after it.
func (p *pair) do(o op) (a answer, err error) {
	if o.verb == "hold" || o.verb == "release" {
		return a, p.read(o)
	}
	switch o.verb {
	case "remount":
		a, err = p.remount(o.arg)
	case "restart":
		err = p.restart(o.arg)
	default:
		a, err = both(&p.mounted, &p.plain, o)
	}
	if err != nil {
		return a, err
	}
	wasLoose := p.isLoose()
	p.loosen(o, a)
	p.mayBeLate = wasLoose || p.isLoose()
	for _, f := range p.followed {
		f.replaced = o.verb == "files"
		if err := p.check(f); err != nil {
			return a, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return a, p.log.take()
}

// check compares one database everywhere with the twin's.
func (p *pair) check(f *followed) error {
	now, err := readState(filepath.Join(p.plain.dir, f.name), p.plain.indexed(f.name))
	if errors.Is(err, errUnsettled) || p.unsettled() {
		now, err = f.last, nil
	}
	if err != nil {
		return fmt.Errorf("the twin: %w", err)
	}
	commits := 0 // one that changes no page is no transaction
	if !now.equal(f.last) {
		commits = 1
	}
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
		f.primary.take()
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
	if resized {
		p.log.drop()
	}
	if f.pending {
		return nil
	}
	return p.checkReaders(f)
}

// awaitPrimary waits for the primary to have captured what the twin committed.
func (f *followed) awaitPrimary(commits int) (stream.Pos, error) {
	want := f.txid + stream.TXID(commits)
	pos, err := f.primary.await(*flagLate, func(pos stream.Pos, _ *state) bool { return pos.TXID >= want })
	if errors.Is(err, errLate) {
		err = f.primary.explain(f.last)
	}
	if err == nil && pos.TXID != want {
		err = f.primary.explain(f.last)
		err = errors.Join(fmt.Errorf("transactions up to %s, want up to %s (%d commits)", pos.TXID, want, commits), err)
	}
	if err != nil {
		return pos, err
	}
	f.txid = want
	return pos, f.primary.compare(f.last)
}

// explain says how a recorder stands to the state that was awaited.
func (r *recorder) explain(want *state) (err error) {
	r.with(func(pos stream.Pos, st *state) {
		err = fmt.Errorf("at %s, compared with the plain file: %s", pos, st.diff(want))
		if st.equal(want) {
			err = fmt.Errorf("at %s, with the right pages", pos)
		}
	})
	return err
}

func (r *recorder) compare(want *state) (err error) {
	r.with(func(pos stream.Pos, st *state) {
		if diff := st.diff(want); diff != "" {
			err = fmt.Errorf("at %s, compared with the plain file: %s", pos, diff)
		}
	})
	return err
}

func (f *followed) awaitReplica(pos stream.Pos) error {
	got, err := f.replica.await(*flagLate, func(got stream.Pos, _ *state) bool { return got.TXID >= pos.TXID })
	if err == nil && got != pos {
		err = fmt.Errorf("at %s, the primary's is at %s", got, pos)
	}
	if errors.Is(err, errLate) {
		err = fmt.Errorf("at %s after %v, the primary's is at %s", got, *flagLate, pos)
	}
	return err
}

// reader is a connection to the replica of a database that stays open. The first follows, others hold transactions.
type reader struct {
	proc *process
	held *answer // what it saw when its transaction began
}

// reader returns the reader with the given number, opening it at first.
func (p *pair) reader(i int) (*reader, error) {
	if p.readers[i] != nil {
		return p.readers[i], nil
	}
	proc, err := startProcess()
	if err != nil {
		return nil, err
	}
	p.readers[i] = &reader{proc: proc}
	a, err := proc.ask("open", uri(filepath.Join(p.replicaDir, databases[0]), ""))
	if err == nil && a.Err != "" {
		err = fmt.Errorf("open the replica: %s", a.Err)
	}
	return p.readers[i], err
}

// checkReaders has the first reader see the state.
func (p *pair) checkReaders(f *followed) error {
	if f.name != databases[0] || f.last.size == 0 {
		return nil
	}
	r, err := p.reader(0)
	if err != nil {
		return err
	}
	a, err := r.see()
	if err != nil {
		return fmt.Errorf("a reader of the replica: %w", err)
	}
	if diff := f.last.seenDiff(a); diff != "" {
		return fmt.Errorf("a reader of the replica does not see what the plain file has: %s", diff)
	}
	return nil
}

// see reads all pages, and again for a while where a reader meets a busy database.
func (r *reader) see() (a answer, err error) {
	for deadline := time.Now().Add(*flagLate); ; {
		a, err = r.proc.ask("pages", "main")
		if err != nil || a.Err == "" {
			return a, err
		}
		if time.Now().After(deadline) {
			return a, errors.New(a.Err)
		}
		time.Sleep(time.Millisecond)
	}
}

// read carries out an operation of a reader.
func (p *pair) read(o op) error {
	if o.who == 0 || p.readers[0] == nil { // no database yet
		return nil
	}
	r, err := p.reader(o.who)
	if err != nil {
		return err
	}
	if o.verb == "hold" {
		return r.hold()
	}
	return r.release()
}

func (r *reader) hold() error {
	if r.held != nil {
		return nil
	}
	if err := r.sql("BEGIN"); err != nil {
		return err
	}
	a, err := r.see()
	r.held = &a
	return err
}

func (r *reader) release() error {
	if r.held == nil {
		return nil
	}
	want := *r.held
	r.held = nil
	got, err := r.see()
	if err != nil {
		return err
	}
	if got.PageSize != want.PageSize || !bytes.Equal(got.Sums, want.Sums) {
		return errors.New("a reader of the replica sees another state within one transaction")
	}
	if err := r.sql("PRAGMA integrity_check"); err != nil {
		return err
	}
	return r.sql("COMMIT")
}

// releaseAll ends the transactions of all readers.
func (p *pair) releaseAll() (err error) {
	for _, r := range p.readers {
		if r != nil {
			err = errors.Join(err, r.release())
		}
	}
	return err
}

func (r *reader) sql(text string) error {
	a, err := r.proc.ask("sql", text)
	if err == nil && a.Err != "" {
		err = fmt.Errorf("a reader of the replica: %s: %s", text, a.Err)
	}
	if err == nil && text == "PRAGMA integrity_check" && (len(a.Rows) != 1 || a.Rows[0] != "[ok]") {
		err = fmt.Errorf("a reader of the replica: %s: %q", text, a.Rows)
	}
	return err
}
