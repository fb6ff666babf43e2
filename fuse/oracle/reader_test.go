package oracle

import (
	"errors"
	"fmt"
	"time"

	"weir/fuse/fusetest"
	"weir/stream"
)

// reader is a connection to the replica of a database that stays open. The first follows, others hold transactions.
type reader struct {
	proc *fusetest.Process
	held *stream.Sums // what it saw when its transaction began
}

// reader returns the reader with the given number, opening it at first.
func (p *pair) reader(i int) (*reader, error) {
	if p.readers[i] != nil {
		return p.readers[i], nil
	}
	proc, err := fusetest.Start()
	if err != nil {
		return nil, err
	}
	p.readers[i] = &reader{proc: proc}
	a, err := proc.Ask("open", uri(p.Replica.Path(databases[0]), ""))
	if err == nil && a.Err != "" {
		err = fmt.Errorf("open the replica: %s", a.Err)
	}
	return p.readers[i], err
}

// checkReaders has the first reader see the state.
func (p *pair) checkReaders(f *followed) error {
	if f.Name != databases[0] || f.last.size == 0 {
		return nil
	}
	r, err := p.reader(0)
	if err != nil {
		return err
	}
	got, err := r.see()
	if err == nil {
		err = fusetest.Diff(got, f.last.seen())
	}
	if err != nil {
		return fmt.Errorf("a reader of the replica: %w", err)
	}
	return nil
}

// see reads all pages, and again for a while where a reader meets a busy database, or none yet.
func (r *reader) see() (*stream.Sums, error) {
	for deadline := time.Now().Add(*flagLate); ; time.Sleep(time.Millisecond) {
		a, err := r.proc.Ask("pages", "own")
		if err != nil {
			return nil, err
		}
		late := time.Now().After(deadline)
		if a.Err != "" && late {
			return nil, errors.New(a.Err)
		}
		if len(a.Table) > 0 && a.Err == "" || late {
			return a.Pages()
		}
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
	var err error
	r.held, err = r.see()
	return err
}

func (r *reader) release() error {
	if r.held == nil {
		return nil
	}
	want := r.held
	r.held = nil
	got, err := r.see()
	if err != nil {
		return err
	}
	if err := fusetest.Diff(got, want); err != nil {
		return fmt.Errorf("a reader of the replica sees another state within one transaction: %w", err)
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
	a, err := r.proc.Ask("sql", text)
	if err == nil && a.Err != "" {
		err = fmt.Errorf("a reader of the replica: %s: %s", text, a.Err)
	}
	if err == nil && text == "PRAGMA integrity_check" && (len(a.Rows) != 1 || a.Rows[0] != "ok") {
		err = fmt.Errorf("a reader of the replica: %s: %q", text, a.Rows)
	}
	return err
}
