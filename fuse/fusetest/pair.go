package fusetest

import (
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"weir/fuse"
)

// Late is how long a stream has to show a commit, and a node to connect.
const Late = 15 * time.Second

// Pair is a primary and a replica of it, mounted by this process.
type Pair struct {
	Primary, Replica Node
	Databases        []*Database
	Warnings         Warnings
	ScrubEvery       time.Duration // see [fuse.Config]

	passthrough Passthrough
}

// Database is one database of a pair, as it is followed.
type Database struct {
	Name             string // in the nodes' directories
	Primary, Replica *Recorder
}

// NewPair makes a pair below the directory base, which nobody uses yet; nothing is mounted. Close it in the end.
func NewPair(base string, passthrough Passthrough, keepPages bool, names ...string) *Pair {
	p := &Pair{passthrough: passthrough}
	for _, name := range names {
		p.Databases = append(p.Databases, &Database{name, NewRecorder(keepPages), NewRecorder(keepPages)})
	}
	for dir, n := range map[string]*Node{"primary": &p.Primary, "replica": &p.Replica} {
		n.Dir, n.http = filepath.Join(base, dir), httptest.NewServer(n)
	}
	return p
}

// Mount mounts both sides and has all recorders follow.
func (p *Pair) Mount() error {
	if err := p.MountPrimary(); err != nil {
		return err
	}
	return p.MountReplica()
}

// MountPrimary mounts the primary alone. Its recorders follow it from now on.
func (p *Pair) MountPrimary() error {
	cfg := fuse.Config{Logger: slog.New(&p.Warnings), Passthrough: p.passthrough.Primary, PassAtOnce: true, ScrubEvery: p.ScrubEvery}
	recorders := make(map[string]*Recorder)
	for _, db := range p.Databases {
		cfg.Databases = append(cfg.Databases, fuse.Database{Path: p.Primary.Path(db.Name)})
		recorders[db.Name] = db.Primary
	}
	if err := p.Primary.mount(cfg); err != nil {
		return err
	}
	return p.Primary.follow(recorders)
}

// MountReplica mounts the replica alone and waits until it is connected, so that it has the primary's identity. Its
// recorders follow it from then on.
func (p *Pair) MountReplica() error {
	cfg := fuse.Config{Logger: slog.New(&p.Warnings), Passthrough: p.passthrough.Replica, ScrubEvery: p.ScrubEvery}
	recorders := make(map[string]*Recorder)
	for _, db := range p.Databases {
		up := &fuse.Upstream{URL: p.Primary.http.URL, Path: p.Primary.Path(db.Name)}
		cfg.Databases = append(cfg.Databases, fuse.Database{Path: p.Replica.Path(db.Name), Upstream: up})
		recorders[db.Name] = db.Replica
	}
	if err := p.Replica.mount(cfg); err != nil {
		return err
	}
	if err := p.AwaitReplica(); err != nil {
		return err
	}
	return p.Replica.follow(recorders)
}

// AwaitReplica waits until the replica is connected to the primary.
func (p *Pair) AwaitReplica() error { return p.Replica.awaitUpstreams() }

// AwaitShown waits until the replica shows a database: not before it is compared with the primary's.
func (p *Pair) AwaitShown(name string) error {
	for deadline := time.Now().Add(Late); ; time.Sleep(time.Millisecond) {
		_, err := os.Stat(p.Replica.Path(name))
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Unmount ends weir on both sides.
func (p *Pair) Unmount() error { return errors.Join(p.Replica.Unmount(), p.Primary.Unmount()) }

// Close takes everything away, whatever state it is in.
func (p *Pair) Close() error {
	err := errors.Join(p.Replica.unmountLazily(), p.Primary.unmountLazily())
	p.Replica.http.Close()
	p.Primary.http.Close()
	return err
}
