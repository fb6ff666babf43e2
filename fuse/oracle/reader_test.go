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
	proc  *fusetest.Process
	held  *stream.Sums // what it saw when its transaction began
	stale bool         // other files were put in the database's place: its schema may be another's with the same cookie
}

// reader returns the reader with the given number, opening it at first with a query in its URI.
func (p *pair) reader(i int, query string) (*reader, error) {
	if p.readers[i] != nil {
		return p.readers[i], nil
	}
	proc, err := fusetest.Start()
	if err != nil {
		return nil, err
	}
	p.readers[i] = &reader{proc: proc}
	a, err := proc.Ask("open", uri(p.Replica.Path(databases[0]), query))
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
	r, err := p.reader(0, "")
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
	switch o.verb {
	case "release":
		return p.release(o.who)
	case "ask":
		if r := p.readers[o.who]; r != nil {
			_, err := r.proc.Ask("sql", o.arg) // may fail, after a removal
			return err
		}
		return nil
	}
	r, err := p.reader(o.who, o.arg)
	if err != nil {
		return err
	}
	return r.hold()
}

// release ends a reader's transaction, and the reader where its schema is of no use any more.
func (p *pair) release(who int) error {
	r := p.readers[who]
	if r == nil {
		return nil
	}
	err := r.release()
	if r.stale {
		p.readers[who] = nil
		err = errors.Join(err, r.proc.End())
	}
	return err
}

// replaceFiles marks all readers' schemas as those of a database that is gone.
func (p *pair) replaceFiles() error {
	for i, r := range p.readers {
		if r == nil {
			continue
		}
		if r.stale = true; r.held == nil {
			if err := p.release(i); err != nil {
				return err
			}
		}
	}
	return nil
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
	if !r.stale {
		err = r.sql("PRAGMA integrity_check")
	}
	return errors.Join(err, r.sql("COMMIT"))
}

// releaseAll ends the transactions of all readers.
func (p *pair) releaseAll() (err error) {
	for i := range p.readers {
		err = errors.Join(err, p.release(i))
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
