package oracle

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"weir/fuse/fusetest"
)

// writers is the number of writers on each side.
const writers = 3

// readers is the number of readers of the replica, more than there are read-marks. The first follows.
const readers = 9

// databases are the names of the databases; writers open the first, and attach the second as aux.
var databases = []string{"db", "db2"}

// side is one of the twins: a directory, and a process for each writer.
type side struct {
	dir   string
	procs [writers]*fusetest.Process
}

// do carries out an operation of a writer.
func (s *side) do(o op) (fusetest.Answer, error) {
	p := s.procs[o.who]
	switch {
	case o.verb == "shoot" && p != nil:
		s.procs[o.who] = nil
		after, text := o.timed()
		if _, err := p.Ask("sql", "BEGIN"); err != nil { // refused within a transaction
			return fusetest.Answer{}, err
		}
		return fusetest.Answer{}, p.Shoot("sql", text, after)
	case o.verb == "kill" && p == nil:
		return fusetest.Answer{Err: "no process"}, nil
	case o.verb == "kill":
		p.Kill()
		s.procs[o.who] = nil
		return fusetest.Answer{}, nil
	case o.verb == "open" && p == nil:
		var err error
		if p, err = fusetest.Start(); err != nil {
			return fusetest.Answer{}, err
		}
		s.procs[o.who] = p
	case p == nil:
		return fusetest.Answer{Err: "no process"}, nil
	}
	arg := strings.ReplaceAll(o.arg, "{dir}", s.dir)
	switch o.verb {
	case "files":
		arg = o.arg + " " + filepath.Join(s.dir, databases[0])
	case "restore":
		arg = filepath.Join(s.dir, copyName)
	case "open":
		arg = uri(filepath.Join(s.dir, databases[0]), o.arg)
	}
	return p.Ask(o.verb, arg)
}

// uri names a database; statements never wait for a lock, so that what is busy is busy on both sides.
func uri(path, query string) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: strings.TrimPrefix(query+"&_busy_timeout=0", "&")}).String()
}

// indexed tells whether a process has the wal-index of a database mapped.
func (s *side) indexed(name string) bool {
	for _, p := range s.procs {
		if p != nil && p.Maps(filepath.Join(s.dir, name+"-shm")) {
			return true
		}
	}
	return false
}

// end ends all processes in order.
func (s *side) end() (err error) {
	for i, p := range s.procs {
		if p != nil {
			err = errors.Join(err, p.End())
			s.procs[i] = nil
		}
	}
	return err
}

func (s *side) kill() {
	for i, p := range s.procs {
		if p != nil {
			p.Kill()
			s.procs[i] = nil
		}
	}
}

// both carries out an operation on two sides at once. Their answers must be equal.
func both(a, b *side, o op) (fusetest.Answer, error) {
	var got, want fusetest.Answer
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { got, errs[0] = a.do(o) })
	wg.Go(func() { want, errs[1] = b.do(o) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return got, err
	}
	if g, w := fmt.Sprintf("%+v", got), strings.ReplaceAll(fmt.Sprintf("%+v", want), b.dir, a.dir); g != w {
		return got, fmt.Errorf("on the mount SQLite answers\n\t%.500s\non the plain file\n\t%.500s", g, w)
	}
	return got, nil
}
