package fuse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"weir/fuse/internal/state"
	"weir/stream"
)

// followers follow the databases of an upstream's directory, as they come and go.
type followers struct {
	d     *directory
	of    Upstream // its Path is the directory's there
	cfg   Config
	once  sync.Once
	heard chan struct{} // closed when the upstream has first said what there is

	turn   sync.Mutex           // held while databases are added and dropped; guards these two
	each   map[string]*follower // by name below the directory
	server *stream.Server       // nil where none serves

	mu        sync.Mutex // guards all below
	connected bool
	faults    stream.Faults
	err       error // why the upstream does not say what there is
}

// follower follows one of them.
type follower struct {
	db     Database
	cancel context.CancelFunc
	done   chan struct{}
}

var _ = (stream.Lister)((*followers)(nil))

func newFollowers(d *directory, cfg Config) *followers {
	return &followers{d: d, of: *d.patterns[0].Upstream, cfg: cfg, each: make(map[string]*follower), heard: make(chan struct{})}
}

// scanReplicas opens the databases that the directory had when weir ended: readers have them whether the upstream answers
// or not.
func (d *directory) scanReplicas() error {
	if d.followers == nil {
		return nil
	}
	names, err := d.find(func(name string) bool {
		_, err := d.root.Stat(state.Path(name))
		return err == nil && d.applied(name) == nil
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.addReplica(d.followers.database(name), name); err != nil {
			return err
		}
		d.followers.each[name] = &follower{db: d.followers.database(name)}
	}
	return nil
}

// database is what is configured for the one called name below the directory.
func (f *followers) database(name string) Database {
	return Database{Path: f.d.pathOf(name), Upstream: &Upstream{URL: f.of.URL, Path: path.Join(f.of.Path, name), Credentials: f.of.Credentials}}
}

// run follows the databases that there are, and the list of them, until ctx ends. Those that follow end with it.
func (f *followers) run(ctx context.Context) {
	f.turn.Lock()
	for name := range f.each {
		f.start(ctx, name)
	}
	f.turn.Unlock()
	opt := stream.FollowOptions{Logger: f.cfg.Logger, MaxBackoff: f.cfg.MaxBackoff, Credentials: f.of.Credentials}
	err := stream.FollowList(ctx, f.of.URL, f.of.Path, f, opt)
	if err != nil && ctx.Err() == nil {
		f.cfg.Logger.Error("following has ended", "directory", f.d.path, "err", err)
		f.SetConnected(false, err)
		<-ctx.Done()
	}
	f.turn.Lock()
	defer f.turn.Unlock()
	for _, one := range f.each {
		one.end()
	}
}

// end ends a follower.
func (one *follower) end() {
	one.cancel()
	<-one.done
}

// start starts to follow the database called name.
func (f *followers) start(ctx context.Context, name string) {
	one := f.each[name]
	ctx, one.cancel = context.WithCancel(ctx)
	one.done = make(chan struct{})
	opt := f.cfg.follow(one.db)
	replica := f.d.applied(name)
	go func() {
		defer close(one.done)
		err := stream.Follow(ctx, one.db.Upstream.URL, one.db.Upstream.Path, replica, opt)
		if err != nil && ctx.Err() == nil {
			opt.Logger.Error("following has ended", "err", err)
		}
	}()
}

// Listed implements [stream.Lister]: what is no more goes first, for a directory may have come in its place.
func (f *followers) Listed(ctx context.Context, l stream.List) error {
	f.turn.Lock()
	defer f.turn.Unlock()
	if err := f.admit(l.ID); err != nil {
		return err
	}
	wanted := make(map[string]bool)
	for _, name := range l.Databases {
		if f.d.pattern(name) != nil {
			wanted[name] = true
		}
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(f.each)) {
		if !wanted[name] {
			errs = append(errs, f.drop(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if f.each[name] == nil {
			errs = append(errs, f.add(ctx, name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f.once.Do(func() { close(f.heard) })
	if f.server != nil {
		f.server.Relist()
	}
	return nil
}

// admit refuses a list of another directory.
func (f *followers) admit(id string) error {
	switch own := (servedDirectory{f.d}).ID(); {
	case id == "" || id == own:
		return nil
	case own == "":
		return f.d.adopt(id)
	}
	return fmt.Errorf("%s: %w", f.d.path, stream.ErrOtherDirectory)
}

// serve has s serve the databases from here on.
func (f *followers) serve(s *stream.Server) {
	f.turn.Lock()
	defer f.turn.Unlock()
	f.server = s
	for name := range f.each {
		f.announce(name)
	}
}

// whole implements [stream.Directory].
func (f *followers) whole() error {
	select {
	case <-f.heard:
		return nil
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	return errors.New("the upstream has not answered yet")
}

// SetConnected implements [stream.Lister].
func (f *followers) SetConnected(connected bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connected, f.err = connected, err
	f.faults.Note(err, time.Now())
}

func (f *followers) status(s *stream.Status) {
	s.Ready = f.whole() == nil
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Upstream, s.Connected = f.of.URL, f.connected
	f.faults.Report(s)
}

// add begins to follow a database that has come.
func (f *followers) add(ctx context.Context, name string) error {
	db := f.database(name)
	if err := f.d.makeParents(name); err != nil {
		return fmt.Errorf("replica %s: %w", db.Path, err)
	}
	if err := f.d.addReplica(db, name); err != nil {
		return errors.Join(err, f.d.removeReplica(name))
	}
	f.d.changed(name) // it is hidden until it has something to show
	f.each[name] = &follower{db: db}
	f.cfg.Logger.Info("a database has come", "db", db.Path)
	f.announce(name)
	f.start(ctx, name)
	return nil
}

// announce serves a database further.
func (f *followers) announce(name string) {
	if f.server != nil {
		db := f.each[name].db
		f.server.Add(db.Path, &servedReplica{f.d.applied(name), f.d, name, db.Upstream})
	}
}

// drop takes a database away that the upstream has no more. Its files are set aside.
func (f *followers) drop(name string) error {
	one := f.each[name]
	one.end()
	if f.server != nil {
		f.server.Remove(one.db.Path)
	}
	delete(f.each, name)
	f.d.leave(name)
	if err := f.d.removeReplica(name); err != nil {
		f.cfg.Logger.Error("a replica that is gone was not ended as it should be", "db", one.db.Path, "err", err)
	}
	to, err := f.d.setReplicaAside(name)
	f.d.left(name)
	if err != nil {
		return fmt.Errorf("set replica %s aside: %w", one.db.Path, err)
	}
	f.cfg.Logger.Info("the upstream has no such database any more; the replica is set aside", "db", one.db.Path, "under", f.d.pathOf(to))
	return nil
}
