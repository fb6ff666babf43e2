package fuse

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"weir/stream"
)

// Config says what to mount.
type Config struct {
	Databases []Database
	Patterns  []Pattern    // none matches a database of Databases in a directory below its own
	Logger    *slog.Logger // default: none

	Passthrough Passthrough // default: where it can be had

	// PassAtOnce has primaries' databases in WAL mode be passed through even if they
	// are not written much. Tests want that.
	PassAtOnce bool

	// MaxBackoff is the longest pause of a replica before it connects again. Default: that of [stream.Follow].
	MaxBackoff time.Duration

	// ScrubEvery is how often each database is read in full and compared with its
	// page checksums. Default: a minute after the start, and then daily.
	ScrubEvery time.Duration

	// Instance is that of the [stream.Server] that serves the databases, "" where
	// none does.
	Instance string

	// Followers is that server's, nil where none serves: a replica tells its upstream who follows it.
	Followers func(path string) stream.Followers

	// Name is this machine's: by it and their paths, upstreams call its replicas. ""
	// leaves them their addresses.
	Name string

	// Guard makes the command of a process that calls [RunGuard]: it ends what a
	// daemon that is killed can't end by itself. Default: none.
	Guard func() *exec.Cmd
}

// Database is one database to capture, or, with an upstream, to replicate.
type Database struct {
	Path     string    // absolute; the mount goes over its directory
	Upstream *Upstream // nil on a primary
}

// Upstream is what a replica follows.
type Upstream struct {
	URL  string // of a weir, http or https
	Path string // the database's path there

	Credentials stream.Credentials
}

// Mounts are the mounted directories of one daemon.
type Mounts struct {
	dirs      []*directory // in the order in which they are mounted
	databases []Database
	mounting  mounting
	guard     *guard

	ctx       context.Context // of the followers, and of those who announce members
	stop      context.CancelFunc
	following sync.WaitGroup
}

// Mount mounts the directory of each database and starts to follow upstreams.
// A directory is mounted whether its databases exist yet or not. It fails as a
// whole: with [ErrNoPassthrough], with a [BusyError] while processes have
// files open that they must close first, or as the cause is.
func Mount(ctx context.Context, cfg Config) (*Mounts, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Mounts{databases: cfg.Databases, guard: &guard{command: cfg.Guard, logger: cfg.Logger}}
	if err := m.mount(cfg); err != nil {
		m.decide(fuse.EIO)
		for _, d := range slices.Backward(m.dirs) {
			err = errors.Join(err, d.unmount(unmountLazily), d.close())
		}
		m.guard.end()
		return nil, err
	}
	m.ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, db := range cfg.Databases {
		if db.Upstream != nil {
			m.follow(m.ctx, db, cfg.follow(db))
		}
	}
	for _, d := range m.dirs {
		if d.followers != nil {
			m.following.Go(func() { d.followers.run(m.ctx) })
		}
	}
	return m, nil
}

// follow is how the upstream of db is followed.
func (cfg Config) follow(db Database) stream.FollowOptions {
	opt := stream.FollowOptions{
		Logger: cfg.Logger.With("db", db.Path), MaxBackoff: cfg.MaxBackoff, Instance: cfg.Instance, Credentials: db.Upstream.Credentials,
		Name: cfg.nameOf(db),
	}
	if cfg.Followers != nil {
		opt.Followers = func() stream.Followers { return cfg.Followers(db.Path) }
	}
	return opt
}

// nameOf is by what name an upstream calls a replica.
func (cfg Config) nameOf(db Database) string {
	if cfg.Name == "" {
		return ""
	}
	return cfg.Name + ":" + db.Path
}

// group is what is configured for one directory.
type group struct {
	path     string
	replica  bool
	patterns []Pattern
}

// byDirectory groups what is configured; outer directories come before those in them.
func byDirectory(cfg Config) []*group {
	var groups []*group
	of := func(dir string, u *Upstream) *group {
		i := slices.IndexFunc(groups, func(g *group) bool { return g.path == dir })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{path: dir, replica: u != nil})
		}
		return groups[i]
	}
	for _, db := range cfg.Databases {
		of(filepath.Dir(db.Path), db.Upstream)
	}
	for _, p := range cfg.Patterns {
		g := of(p.Dir, p.Upstream)
		g.patterns = append(g.patterns, p)
	}
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(len(a.path), len(b.path)) })
	return groups
}

// follow feeds the replica db from its upstream until stop is called.
func (m *Mounts) follow(ctx context.Context, db Database, opt stream.FollowOptions) {
	replica := m.directory(db).applied(filepath.Base(db.Path))
	m.following.Go(func() {
		err := stream.Follow(ctx, db.Upstream.URL, db.Upstream.Path, replica, opt)
		if err != nil && ctx.Err() == nil {
			opt.Logger.Error("following has ended", "err", err)
		}
	})
}

func (m *Mounts) directory(db Database) *directory {
	i := slices.IndexFunc(m.dirs, func(d *directory) bool { return d.path == filepath.Dir(db.Path) })
	return m.dirs[i]
}

// Register has s serve every database, replicas too, and those that come. It is called once at most.
func (m *Mounts) Register(s *stream.Server) {
	for _, db := range m.databases {
		d, name := m.directory(db), filepath.Base(db.Path)
		if replica := d.applied(name); replica != nil {
			s.Add(db.Path, &servedReplica{replica, d, name, db.Upstream})
		} else {
			s.Add(db.Path, &servedPrimary{d.captured(name), d, name})
		}
	}
	for _, d := range m.dirs {
		m.registerMembers(d, s)
	}
}

// registerMembers has s serve the databases of d that come and go.
func (m *Mounts) registerMembers(d *directory, s *stream.Server) {
	switch {
	case d.followers != nil:
		d.followers.serve(s)
	case d.follows():
		d.serveMembers(m.ctx, s)
		m.following.Go(func() { d.announce(m.ctx, s) })
	default:
		return
	}
	s.AddDirectory(servedDirectory{d})
}

// Ready waits until every replica has a state to show.
func (m *Mounts) Ready(ctx context.Context) error {
	for _, d := range m.dirs {
		if d.followers != nil {
			select {
			case <-d.followers.heard:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for _, replica := range d.replicas() {
			select {
			case <-replica.Ready():
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// unmountLazily detaches a mount at once; it ends with its last open file.
const unmountLazily = 2 // MNT_DETACH

// Unmount takes the mounts away and closes the databases. While processes have
// files open there it fails with a [BusyError], and may be called again.
func (m *Mounts) Unmount(context.Context) error { return m.unmount(0) }

// UnmountLazily takes the mounts away at once. Processes that have files open
// there keep them, and what they write then is not captured before weir runs
// again.
func (m *Mounts) UnmountLazily() error { return m.unmount(unmountLazily) }

func (m *Mounts) unmount(flags int) error {
	for _, d := range slices.Backward(m.dirs) {
		if err := d.unmount(flags); err != nil {
			return err
		}
	}
	m.stop()
	m.following.Wait()
	for _, d := range m.dirs {
		d.waiting.Wait()
	}
	var errs []error
	for _, d := range slices.Backward(m.dirs) {
		errs = append(errs, d.close())
	}
	m.dirs = nil
	m.guard.end()
	return errors.Join(errs...)
}
