package oracle

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"weir/fuse/fusetest"
)

// crash has a process on the primary's mount killed while it runs a statement, and none on the twin. Whether SQLite has
// committed then is chance: if not, the twin goes back to where it was.
func (p *pair) crash(o op) error {
	if err := errors.Join(p.mounted.end(), p.plain.end()); err != nil {
		return err
	}
	after, text := o.timed()
	if err := p.mounted.shoot(text, after); err != nil {
		return err
	}
	backup, err := readFiles(p.plain.dir)
	if err != nil {
		return err
	}
	if _, err := p.plain.once(databases[0], "sql", text); err != nil {
		return err
	}
	seen, err := p.mounted.recover(databases[0])
	if err != nil {
		return err
	}
	now, err := readState(filepath.Join(p.plain.dir, databases[0]), false)
	if err != nil || fusetest.Diff(seen, now.seen()) == nil {
		return err
	}
	if err := writeFiles(p.plain.dir, backup); err != nil {
		return err
	}
	return p.reconcile(databases[0])
}

// shoot starts a process, opens the database and kills the process while it runs a statement.
func (s *side) shoot(text string, after time.Duration) error {
	proc, err := fusetest.Start()
	if err != nil {
		return err
	}
	defer proc.Kill()
	if _, err := proc.Ask("open", uri(filepath.Join(s.dir, databases[0]), "")); err != nil {
		return err
	}
	return proc.Shoot("sql", text, after)
}

// once does something by a process that lives no longer.
func (s *side) once(name, verb, arg string) (a fusetest.Answer, err error) {
	proc, err := fusetest.Start()
	if err != nil {
		return a, err
	}
	defer proc.Kill()
	if a, err = proc.Ask("open", uri(filepath.Join(s.dir, name), "")); err != nil {
		return a, err
	}
	if a, err = proc.Ask(verb, arg); err != nil {
		return a, err
	}
	return a, proc.End()
}

// state is the first database's, which nobody has open.
func (s *side) state() (*state, error) { return readState(filepath.Join(s.dir, databases[0]), false) }

// readFiles returns the files in a directory by name.
func readFiles(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// writeFiles makes a directory have these files and no others.
func writeFiles(dir string, files map[string][]byte) error {
	err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755))
	for name, data := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	return err
}
