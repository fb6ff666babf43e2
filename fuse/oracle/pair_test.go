package oracle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weir/fuse"
	"weir/stream"
)

// pair is a primary and a replica of it, mounted by this process, and the plain twin.
type pair struct {
	base    string
	mounted side // on the primary's mount
	plain   side

	primary, replica             *fuse.Mounts
	primaryServer, replicaServer *httpServer
	replicaDir                   string
	readers                      [writers]*reader
	followed                     []*followed

	loose     [writers]bool // the writer's commits have no journal
	inTxn     [writers]bool
	mayBeLate bool // the last operation's commit may have no journal

	log      *warnings
	answered func(op, answer) // told of each operation; may be nil
}

// followed is one of the databases, as it is followed.
type followed struct {
	name     string
	last     *state      // the twin's last committed state
	primary  *recorder   // what the primary's stream says
	replica  *recorder   // what the replica's stream says
	txid     stream.TXID // of the last state
	pageSize uint32      // of the last state that had pages

	committed map[stream.Checksum]bool // the twin's states
	pending   bool                     // the stream was not there yet, with a commit that had no journal
	replaced  bool                     // other files are in the database's place now, so that some state between may be seen
}

// httpServer serves the databases of one node, and feeds the recorders that follow it.
type httpServer struct {
	*httptest.Server
	streams   *stream.Server
	cancel    context.CancelFunc // ends the recorders
	following sync.WaitGroup
}

func serve(m *fuse.Mounts, logger *slog.Logger) *httpServer {
	s := stream.NewServer(stream.ServerOptions{Logger: logger})
	m.Register(s)
	return &httpServer{Server: httptest.NewServer(s), streams: s}
}

// follow starts recorders. They may have to connect again: a replica's log begins anew when it knows its upstream's.
func (s *httpServer) follow(dir string, recorder func(int) *recorder) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	opt := stream.FollowOptions{Logger: slog.New(slog.DiscardHandler), MaxBackoff: 100 * time.Millisecond}
	for i, name := range databases {
		s.following.Go(func() { stream.Follow(ctx, s.URL, filepath.Join(dir, name), recorder(i), opt) })
	}
}

func (s *httpServer) close() error {
	if s == nil {
		return nil
	}
	s.cancel()
	s.following.Wait()
	err := s.streams.Close()
	s.Close()
	return err
}

// newPair mounts a pair below base. close it even after an error.
func newPair(base string) (*pair, error) {
	p := &pair{base: base, log: &warnings{}}
	p.mounted.dir, p.plain.dir, p.replicaDir = filepath.Join(base, "primary"), filepath.Join(base, "plain"), filepath.Join(base, "replica")
	if err := os.Mkdir(p.plain.dir, 0o755); err != nil {
		return p, err
	}
	for _, name := range databases {
		empty := &state{sums: stream.NewSums(0)}
		p.followed = append(p.followed, &followed{name: name, last: empty, primary: newRecorder(), replica: newRecorder(), committed: make(map[stream.Checksum]bool)})
	}
	return p, p.mount()
}

func (p *pair) mount() error {
	if err := p.mountPrimary(); err != nil {
		return err
	}
	return p.mountReplica()
}

func (p *pair) mountPrimary() (err error) {
	cfg := config(slog.New(p.log))
	for _, name := range databases {
		cfg.Databases = append(cfg.Databases, fuse.Database{Path: filepath.Join(p.mounted.dir, name)})
	}
	if p.primary, err = fuse.Mount(context.Background(), cfg); err != nil {
		return err
	}
	p.primaryServer = serve(p.primary, cfg.Logger)
	p.primaryServer.follow(p.mounted.dir, func(i int) *recorder { return p.followed[i].primary })
	return nil
}

func (p *pair) mountReplica() (err error) {
	cfg := config(slog.New(p.log))
	for _, name := range databases {
		up := &fuse.Upstream{URL: p.primaryServer.URL, Path: filepath.Join(p.mounted.dir, name)}
		cfg.Databases = append(cfg.Databases, fuse.Database{Path: filepath.Join(p.replicaDir, name), Upstream: up})
	}
	if p.replica, err = fuse.Mount(context.Background(), cfg); err != nil {
		return err
	}
	p.replicaServer = serve(p.replica, cfg.Logger)
	p.replicaServer.follow(p.replicaDir, func(i int) *recorder { return p.followed[i].replica })
	return nil
}

// end closes everything in order and compares what is left in the files.
func (p *pair) end() error {
	p.mayBeLate = false
	errs := []error{p.mounted.end(), p.plain.end(), p.releaseAll()}
	for _, f := range p.followed {
		f.replaced = f.pending // must be there
		if err := p.check(f); err != nil {
			errs = append(errs, fmt.Errorf("%s, after all connections are closed: %w", f.name, err))
		}
	}
	errs = append(errs, p.endReaders(), p.log.take(), p.unmount((*fuse.Mounts).Unmount))
	for _, f := range p.followed {
		errs = append(errs, f.compareFiles(p.mounted.dir))
		if f.last.size > 0 { // what was removed is an empty database on a replica, and that has a page
			errs = append(errs, f.compareFiles(p.replicaDir))
		}
	}
	return errors.Join(errs...)
}

func (p *pair) endReaders() (err error) {
	for i, r := range p.readers {
		if r != nil {
			err = errors.Join(err, r.proc.end())
			p.readers[i] = nil
		}
	}
	return err
}

// compareFiles compares the files in a directory that is no longer mounted with the twin's last state.
func (f *followed) compareFiles(dir string) error {
	got, err := readState(filepath.Join(dir, f.name), false)
	if err != nil {
		return err
	}
	if diff := got.masked().diff(f.last.masked()); diff != "" {
		return fmt.Errorf("the files in %s and the twin's after the end: %s", filepath.Join(dir, f.name), diff)
	}
	return nil
}

// unmounting is how to unmount: [fuse.Mounts.Unmount], or lazily.
type unmounting func(*fuse.Mounts, context.Context) error

func (p *pair) unmount(how unmounting) error {
	return errors.Join(p.unmountReplica(how), unmountNode(&p.primary, &p.primaryServer, how))
}

func (p *pair) unmountReplica(how unmounting) error {
	return unmountNode(&p.replica, &p.replicaServer, how)
}

// patiently unmounts, and again for a while if that finds the mount in use but nobody who uses it: then it was somebody
// who reads /proc.
func patiently(m *fuse.Mounts, ctx context.Context, how unmounting) (err error) {
	for range 20 {
		err = how(m, ctx)
		if busy, ok := errors.AsType[*fuse.BusyError](err); !ok || len(busy.Holders) > 0 {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func unmountNode(m **fuse.Mounts, s **httpServer, how unmounting) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := (*s).close()
	*s = nil
	if *m != nil {
		err = errors.Join(err, patiently(*m, ctx, how))
	}
	if err == nil {
		*m = nil
	}
	return err
}

// close takes everything away, whatever state it is in. After end it has nothing to do.
func (p *pair) close() error {
	p.mounted.kill()
	p.plain.kill()
	for _, r := range p.readers {
		if r != nil {
			r.proc.kill()
		}
	}
	return p.unmount(func(m *fuse.Mounts, _ context.Context) error { return m.UnmountLazily() })
}

// warnings keeps what weir warns of. It is a [slog.Handler].
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s", a)
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.Contains(r.Message, "without a rollback journal") {
		w.text = append(w.text, b.String())
	}
	return nil
}

func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

func (w *warnings) WithGroup(string) slog.Handler { return w }

// take returns what was warned of since the last call as an error.
func (w *warnings) take() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.text) == 0 {
		return nil
	}
	err := fmt.Errorf("weir warns: %s", strings.Join(w.text, "; "))
	w.text = nil
	return err
}

// drop forgets them: they were to be expected.
func (w *warnings) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = nil
}
