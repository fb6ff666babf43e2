package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// The places where SQLite is measured.
const (
	benchBare    = "bare"
	benchFloor   = "floor" // a plain FUSE mount, with -floor
	benchPrimary = "primary"
	benchReplica = "replica"
)

// db is the database in one of the places.
func (b *bench) db(place string) string { return filepath.Join(b.tmp, place, "db") }

// start mounts all, makes the same database in each place but on the replica, and waits for that.
func (b *bench) start(ctx context.Context) error {
	dir, err := filepath.Abs(b.dir)
	if err != nil {
		return err
	}
	if b.tmp, err = os.MkdirTemp(dir, "weir-bench-"); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(b.tmp, benchBare), 0o755); err != nil {
		return err
	}
	places := []string{benchBare, benchPrimary}
	if b.floor {
		places = append(places, benchFloor)
		if err := b.startFloor(ctx); err != nil {
			return err
		}
	}
	if err := b.startBoth(ctx); err != nil {
		return err
	}
	for _, place := range places {
		if err := runJob(ctx, "exec", b.db(place), benchSchema); err != nil {
			return fmt.Errorf("create the %s database: %w", place, err)
		}
	}
	b.following = true
	return b.awaitReplica(ctx)
}

// startBoth mounts the primary and the replica.
func (b *bench) startBoth(ctx context.Context) (err error) {
	if b.addr, err = freeAddr("127.0.0.1"); err != nil {
		return err
	}
	conf := fmt.Sprintf("addr: %q\npassthrough: %s\ndbs:\n  - path: %s\n", b.addr, b.passthrough, b.db(benchPrimary))
	if b.primary, err = b.startNode(ctx, benchPrimary, conf); err != nil {
		return err
	}
	conf = fmt.Sprintf("passthrough: %s\ndbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n",
		b.passthrough, b.db(benchReplica), b.addr, b.db(benchPrimary))
	b.replica, err = b.startNode(ctx, benchReplica, conf)
	return err
}

func (b *bench) startNode(ctx context.Context, place, conf string) (*demoNode, error) {
	n, err := startDemoNode(ctx, b.tmp, place, conf)
	if n != nil {
		b.nodes = append(b.nodes, n)
	}
	return n, err
}

// follow has the replica run and be where the primary is, or not run.
func (b *bench) follow(ctx context.Context, wanted bool) error {
	var err error
	if wanted && !b.following {
		err = b.replica.start(ctx)
	}
	if !wanted && b.following {
		err = b.replica.stop()
	}
	b.following = wanted
	if err != nil || !wanted {
		return err
	}
	return b.awaitReplica(ctx)
}

// awaitReplica waits until the replica has the newest row of the primary.
func (b *bench) awaitReplica(ctx context.Context) error {
	want, err := runBenchWorker(ctx, "newest", b.db(benchPrimary))
	if err != nil {
		return err
	}
	return b.replica.until(ctx, "the primary's last transaction", func() bool {
		got, err := runBenchWorker(ctx, "newest", b.db(benchReplica))
		return err == nil && got.Ops == want.Ops
	})
}

func (b *bench) cleanUp() error {
	var errs []error
	for _, n := range slices.Backward(b.nodes) {
		errs = append(errs, n.stop())
	}
	if err := errors.Join(errs...); err != nil || b.tmp == "" {
		return err
	}
	return os.RemoveAll(b.tmp)
}
