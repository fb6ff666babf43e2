package stream

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// ServerOptions tune a Server. The zero value works.
type ServerOptions struct {
	Logger       *slog.Logger  // slog.Default
	Heartbeat    time.Duration // between two heartbeats; 1 second
	WriteTimeout time.Duration // for a follower to take what is written; 30 seconds
	MaxStreams   int           // of each database; 256
	MaxSums      int           // followers that send their page checksums at the same time; 16
	MaxReading   int           // snapshots for which pages are read at the same time; 2
	MaxWaits     int           // requests that wait for a transaction at the same time; 1024

	// Allow tells whether a request may read the database at path; nil: any may. It is asked again with each heartbeat,
	// and a stream that may not be read any more ends.
	Allow func(r *http.Request, path string) bool

	// Admit tells whether a request's credentials are valid, whatever they may read; nil: all are. Once they are not, they
	// never are again.
	Admit func(r *http.Request) bool
}

// A Server serves databases to followers over HTTP. It is an http.Handler for
// the root of a host; limits on headers are its http.Server's to set.
type Server struct {
	opt      ServerOptions
	mux      *http.ServeMux
	instance string // random

	taking    chan struct{} // has a value for each follower whose page checksums are being read
	reading   chan struct{} // has one for each snapshot that reads pages
	verifying chan struct{} // has one while a replica is compared with its upstream
	waiting   chan struct{} // has one for each request that waits for a transaction

	mu     sync.Mutex // guards all below
	dbs    map[string]*served
	dirs   []Directory
	listed chan struct{} // closed and replaced when dbs or dirs change
	closed bool
}

// NewServer returns a server of no databases.
func NewServer(opt ServerOptions) *Server {
	opt.Heartbeat = cmp.Or(opt.Heartbeat, time.Second)
	opt.WriteTimeout = cmp.Or(opt.WriteTimeout, 30*time.Second)
	opt.Logger = cmp.Or(opt.Logger, slog.Default())
	opt.MaxStreams = cmp.Or(opt.MaxStreams, 256)
	if opt.Allow == nil {
		opt.Allow = func(*http.Request, string) bool { return true }
	}
	if opt.Admit == nil {
		opt.Admit = func(*http.Request) bool { return true }
	}
	s := &Server{
		opt: opt, mux: http.NewServeMux(), instance: newID(), dbs: make(map[string]*served), listed: make(chan struct{}),
		taking: make(chan struct{}, cmp.Or(opt.MaxSums, 16)), reading: make(chan struct{}, cmp.Or(opt.MaxReading, 2)),
		waiting: make(chan struct{}, cmp.Or(opt.MaxWaits, 1024)), verifying: make(chan struct{}, 1),
	}
	s.mux.HandleFunc("GET /{$}", s.index)
	s.mux.HandleFunc("GET /status", s.status)
	s.mux.HandleFunc("GET /list", s.list)
	s.mux.HandleFunc("GET /wait", s.wait)
	s.mux.HandleFunc("GET /verify", s.verify)
	s.mux.HandleFunc("GET /stream", s.stream)
	s.mux.HandleFunc("POST /stream", s.stream)
	s.mux.HandleFunc("POST /stream/ack", s.acknowledge)
	return s
}

// Instance names this server among all, for [FollowOptions].
func (s *Server) Instance() string { return s.instance }

// Add serves db under path. What was served there before is removed.
func (s *Server) Add(path string, db Database) {
	s.Remove(path)
	ctx, end := context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		end()
	}
	s.dbs[path] = &served{path: path, db: db, ctx: ctx, end: end, open: make(map[*connected]struct{})}
	s.relist()
}

// Remove serves a database no more. It ends the streams and waits for their
// handlers, so that the database can be closed then.
func (s *Server) Remove(path string) {
	s.mu.Lock()
	d := s.dbs[path]
	delete(s.dbs, path)
	s.relist()
	s.mu.Unlock()
	if d != nil {
		d.end()
		d.streams.Wait()
	}
}

// Close ends all streams and waits for their handlers. It does not close the
// databases.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.relist()
	dbs := slices.Collect(maps.Values(s.dbs))
	s.mu.Unlock()
	for _, d := range dbs {
		d.end()
	}
	for _, d := range dbs {
		d.streams.Wait()
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// enter finds the database for a stream and counts the stream until leave. What r may not read is refused before it is
// known whether it exists.
func (s *Server) enter(r *http.Request) (*served, *connected, error) {
	c := &connected{token: newID(), name: cleanName(r.URL.Query().Get(nameParam)), addr: r.RemoteAddr, since: time.Now()}
	d, err := s.find(r, func(path string) (*served, error) { return s.count(path, c) })
	return d, c, err
}

// find takes the database that r names.
func (s *Server) find(r *http.Request, take func(path string) (*served, error)) (*served, error) {
	path := r.URL.Query().Get("path")
	switch {
	case path == "":
		return nil, refuse(http.StatusBadRequest, "which database? add ?path=; %s", s.listing(r))
	case !s.opt.Allow(r, path):
		return nil, refuse(http.StatusForbidden, "%s may not be read with these credentials; %s", path, s.listing(r))
	}
	d, err := take(path)
	if d == nil && err == nil {
		err = refuse(http.StatusNotFound, "no database %s is served here; %s", path, s.listing(r))
	}
	return d, err
}

// count counts a stream of the database at path, nil if there is none.
func (s *Server) count(path string, c *connected) (*served, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, refuse(http.StatusServiceUnavailable, "the server is stopping")
	}
	d := s.dbs[path]
	if d == nil {
		return nil, nil
	}
	if n := len(d.open); n >= s.opt.MaxStreams {
		return nil, refuse(http.StatusServiceUnavailable, "%s has %d followers, the most that are served at once: follow one of them, or try again later", path, n)
	}
	d.open[c] = struct{}{}
	d.streams.Add(1)
	return d, nil
}

// hold keeps the database at path, nil if there is none, from being removed until streams.Done.
func (s *Server) hold(path string) (*served, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, refuse(http.StatusServiceUnavailable, "the server is stopping")
	}
	d := s.dbs[path]
	if d != nil {
		d.streams.Add(1)
	}
	return d, nil
}

// leave ends what enter began. err is why.
func (s *Server) leave(d *served, c *connected, err error) {
	s.mu.Lock()
	delete(d.open, c) // from here nobody else changes c
	s.mu.Unlock()
	g := GoneStream{Name: c.name, Addr: c.addr, Pos: c.pos(), At: time.Now()}
	s.mu.Lock()
	d.remember(g, err)
	s.mu.Unlock()
	d.streams.Done()
}

// allowed returns the databases that r may read, by path.
func (s *Server) allowed(r *http.Request) []*served {
	s.mu.Lock()
	dbs := slices.SortedFunc(maps.Values(s.dbs), func(a, b *served) int { return strings.Compare(a.path, b.path) })
	s.mu.Unlock()
	return slices.DeleteFunc(dbs, func(d *served) bool { return !s.opt.Allow(r, d.path) })
}

// listing says in words what r may read.
func (s *Server) listing(r *http.Request) string {
	var paths []string
	for _, d := range s.allowed(r) {
		paths = append(paths, d.path)
	}
	if len(paths) == 0 {
		return "none is served here yet"
	}
	return "served: " + strings.Join(paths, ", ")
}
