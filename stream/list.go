package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// A Directory is one whose databases come and go. They are served like others; the Directory says what else is to be
// known of it.
type Directory interface {
	// Dir is its path.
	Dir() string

	// ID is the directory's identity, "" where it has none yet: its replicas adopt it, so that an empty directory in its
	// place, whose disk is missing, is not taken for one from which all databases are gone.
	ID() string

	// Whole tells why the databases that are served may not be all that the directory has; nil where they are.
	Whole() error

	// Status has RoleDirectory, and is shown to who may read what is called Path.
	Status() Status
}

// List is the databases of a directory.
type List struct {
	ID        string   `json:"id"`        // of the directory, "" where none is known
	Hash      string   `json:"hash"`      // of all else
	Databases []string `json:"databases"` // paths below the directory, sorted
}

// AddDirectory has d's state be shown, and its identity be listed with its databases.
func (s *Server) AddDirectory(d Directory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirs = append(s.dirs, d)
	s.relist()
}

// Relist says that what a Directory's Whole or ID tells has changed.
func (s *Server) Relist() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relist()
}

// relist wakes those who wait for another list. The caller holds mu.
func (s *Server) relist() {
	close(s.listed)
	s.listed = make(chan struct{})
}

func (s *Server) directoryStatuses(r *http.Request) (all []Status) {
	s.mu.Lock()
	dirs := slices.Clone(s.dirs)
	s.mu.Unlock()
	for _, d := range dirs {
		if st := d.Status(); s.opt.Allow(r, st.Path) {
			st.At = time.Now()
			all = append(all, st)
		}
	}
	return all
}

// maxListWait is how long GET /list waits at most.
const maxListWait = time.Minute

// list answers with the databases below a directory. With have, the hash of a list, it first waits until there is
// another, or as long as wait says.
func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	l, err := s.awaitList(w, r)
	if err != nil {
		answer, ok := err.(*refusal)
		if !ok {
			answer = &refusal{code: http.StatusServiceUnavailable, text: err.Error()}
		}
		answer.write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(l) // an error is the client's
}

func (s *Server) awaitList(w http.ResponseWriter, r *http.Request) (l List, err error) {
	q := r.URL.Query()
	dir := path.Clean(q.Get("dir"))
	if !path.IsAbs(dir) {
		return l, refuse(http.StatusBadRequest, "which directory? add ?dir=, with its whole path")
	}
	var timeout time.Duration
	if text := q.Get("wait"); text != "" {
		if timeout, err = time.ParseDuration(text); err != nil || timeout < 0 || timeout > maxListWait {
			return l, refuse(http.StatusBadRequest, "wait is %q: give a time up to %s, as in 5s", text, maxListWait)
		}
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return l, refuse(http.StatusServiceUnavailable, "%d requests are waiting, the most that may at once: try again later", cap(s.waiting))
	}
	rc := http.NewResponseController(w)
	rc.SetReadDeadline(time.Time{}) // only its end is waited for
	rc.SetWriteDeadline(time.Now().Add(timeout + s.opt.WriteTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	for {
		l, changed, err := s.listOf(r, dir)
		if err != nil || l.Hash != q.Get("have") {
			return l, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return l, nil
		}
	}
}

// listOf lists the databases below dir that r may read. What is sent after changed is closed may be another.
func (s *Server) listOf(r *http.Request, dir string) (l List, changed <-chan struct{}, err error) {
	s.mu.Lock()
	changed, closed := s.listed, s.closed
	of := s.around(dir)
	s.mu.Unlock()
	if closed {
		return l, nil, refuse(http.StatusServiceUnavailable, "the server is stopping")
	}
	if of != nil {
		if err := of.Whole(); err != nil {
			return l, nil, refuse(http.StatusServiceUnavailable, "it is not known yet which databases %s has: %v", of.Dir(), err)
		}
		l.ID = of.ID()
	}
	l.Databases = make([]string, 0)
	for _, d := range s.allowed(r) {
		if name, ok := strings.CutPrefix(d.path, strings.TrimSuffix(dir, "/")+"/"); ok {
			l.Databases = append(l.Databases, name)
		}
	}
	// Only now: credentials that have become invalid meanwhile may read nothing, which is not to say that nothing is there.
	if !s.opt.Admit(r) {
		return l, nil, refuse(http.StatusForbidden, "these credentials are not valid any more")
	}
	l.Hash = l.hash()
	return l, changed, nil
}

// around is the nearest Directory that dir is, or is in; nil where there is none. The caller holds mu.
func (s *Server) around(dir string) (nearest Directory) {
	for _, d := range s.dirs {
		inside := d.Dir() == dir || strings.HasPrefix(dir, strings.TrimSuffix(d.Dir(), "/")+"/")
		if inside && (nearest == nil || len(d.Dir()) > len(nearest.Dir())) {
			nearest = d
		}
	}
	return nearest
}

func (l List) hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00", l.ID)
	for _, name := range l.Databases {
		fmt.Fprintf(h, "%s\x00", name)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// What a server lists is limited: the names, their number and their length in bytes.
const (
	maxListed     = 100_000
	maxListedName = 4096
	maxListBytes  = 64 << 20
)

// validate checks a list that came from outside: no name leads out of the directory.
func (l List) validate() error {
	if len(l.Databases) > maxListed {
		return fmt.Errorf("%w: a list of %d databases, more than %d", ErrCorrupt, len(l.Databases), maxListed)
	}
	if l.ID != "" && !validID(l.ID) {
		return fmt.Errorf("%w: a list with identity %q", ErrCorrupt, l.ID)
	}
	for _, name := range l.Databases {
		if len(name) > maxListedName || !fs.ValidPath(name) || name == "." {
			return fmt.Errorf("%w: a list with the path %.80q", ErrCorrupt, name)
		}
	}
	return nil
}
