package fusetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weir/fuse"
	"weir/stream"
)

// Node is one side of a [Pair]: a directory, which may be mounted, and an address, which outlives the mount.
type Node struct {
	Dir string

	mounts  *fuse.Mounts // nil while weir is away
	http    *httptest.Server
	streams atomic.Pointer[stream.Server] // nil while weir is away

	cancel    context.CancelFunc // ends the recorders that follow; nil: none do
	following sync.WaitGroup
}

// Path returns the path of a database on the node.
func (n *Node) Path(name string) string { return filepath.Join(n.Dir, name) }

// ServeHTTP implements [http.Handler].
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s := n.streams.Load(); s != nil {
		s.ServeHTTP(w, r)
		return
	}
	http.Error(w, "away", http.StatusServiceUnavailable)
}

// mount mounts the node and serves it.
func (n *Node) mount(cfg fuse.Config) (err error) {
	if n.mounts, err = fuse.Mount(context.Background(), cfg); err != nil {
		return err
	}
	streams := stream.NewServer(stream.ServerOptions{Logger: cfg.Logger})
	n.mounts.Register(streams)
	n.streams.Store(streams)
	return nil
}

// follow has recorders follow the node's databases, and waits until they are connected.
func (n *Node) follow(recorders map[string]*Recorder) error {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	// They may have to connect again: a replica's log begins anew when it knows its upstream's.
	opt := stream.FollowOptions{Logger: slog.New(slog.DiscardHandler), MaxBackoff: 100 * time.Millisecond}
	for name, r := range recorders {
		r.SetConnected(false, nil)
		n.following.Go(func() { stream.Follow(ctx, n.http.URL, n.Path(name), r, opt) })
	}
	for name, r := range recorders {
		if err := r.awaitConnected(Late); err != nil {
			return fmt.Errorf("follow %s: %w", n.Path(name), err)
		}
	}
	return nil
}

// awaitUpstreams waits until the node's replicas are connected.
func (n *Node) awaitUpstreams() error {
	for deadline := time.Now().Add(Late); ; time.Sleep(time.Millisecond) {
		all, err := n.status()
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(s stream.Status) bool { return !s.Connected }) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the replica in %s does not connect", n.Dir)
		}
	}
}

func (n *Node) status() (all []stream.Status, err error) {
	resp, err := http.Get(n.http.URL + "/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(resp.Body).Decode(&all)
	return all, err
}

// Unmount ends weir on the node, and the recorders that follow it.
func (n *Node) Unmount() error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return n.unmount(func(m *fuse.Mounts) error { return m.Unmount(ctx) })
}

// unmountLazily does so whoever uses the mount.
func (n *Node) unmountLazily() error { return n.unmount((*fuse.Mounts).UnmountLazily) }

func (n *Node) unmount(how func(*fuse.Mounts) error) error {
	if n.cancel != nil {
		n.cancel()
		n.following.Wait()
		n.cancel = nil
	}
	if n.mounts == nil {
		return nil
	}
	var err error
	if s := n.streams.Swap(nil); s != nil {
		err = s.Close()
	}
	if err = errors.Join(err, how(n.mounts)); err == nil {
		n.mounts = nil
	}
	return err
}
