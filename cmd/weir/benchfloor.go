package main

import (
	"context"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"weir/fuse"
)

// benchFloorName is the hidden command that mounts what the others are compared with: a process of its own, for one that
// uses a mount of its own can wait for itself.
const benchFloorName = "bench-floor"

// runBenchFloor has a plain FUSE mount on a directory until a signal comes:
//
//	DIR PASSTHROUGH
func runBenchFloor(ctx context.Context, args []string, _ stdio) error {
	if len(args) != 2 {
		return usagef("%s is weir bench's own", benchFloorName)
	}
	var passthrough fuse.Passthrough
	if err := passthrough.UnmarshalText([]byte(args[1])); err != nil {
		return usageError{err}
	}
	useProcessors()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return fuse.ServePlain(ctx, args[0], passthrough != fuse.PassthroughOff)
}

// startFloor mounts the plain FUSE file system.
func (b *bench) startFloor(ctx context.Context) error {
	dir := filepath.Join(b.tmp, benchFloor)
	b.nodes = append(b.nodes, &demoNode{
		name: benchFloor, db: b.db(benchFloor), args: []string{benchFloorName, dir, b.passthrough}, out: filepath.Join(b.tmp, benchFloor+".log"),
	})
	return b.nodes[len(b.nodes)-1].begin(ctx)
}

// withFloor has each case measured on the plain FUSE file system, too.
func withFloor(cases []benchCase) []benchCase {
	for i := range cases {
		cases[i].places = slices.Insert(slices.Clone(cases[i].places), 1, benchFloor)
	}
	return cases
}
