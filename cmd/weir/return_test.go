package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/fuse/fusetest"
	"weir/stream"
)

// 50 replicas return at once to a primary that was killed, and each goes on by position: two mounts, and 48 that only
// verify what comes.
func TestManyReplicasReturn(t *testing.T) {
	skipRaced(t)
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, "PRAGMA journal_mode = WAL;"+auditSchema+strings.Repeat(auditStep, 20))
	mounts := []*node{newReplica(t, primary), newReplica(t, primary)}
	for _, r := range mounts {
		r.start()
	}
	recorders := recordMany(t, primary, 48)
	all := func(st stream.Status) bool { return st.Followers == len(mounts)+len(recorders) }
	awaitAll(t, primary, recorders, mounts)
	primary.awaitStatus("all followers", all)
	before := snapshots(mounts[0]) + snapshots(mounts[1])
	for range 2 {
		primary.kill()
		primary.start()
		began := time.Now()
		shell(t, primary.db, auditStep)
		took := time.Since(began)
		awaitAll(t, primary, recorders, mounts)
		primary.awaitStatus("all followers", all)
		t.Logf("a commit while they return takes %v; all have it after %v", took, time.Since(began))
	}
	if got := snapshots(mounts[0]) + snapshots(mounts[1]); got != before {
		t.Errorf("got %d snapshots, want %d as before", got, before)
	}
	for i, r := range recorders {
		if deltas, resizes := r.Breaks(); deltas+resizes > 0 {
			t.Errorf("follower %d began anew", i)
		}
	}
}

// recordMany follows a node's stream n times, with the pauses that replicas make.
func recordMany(t *testing.T, n *node, many int) []*fusetest.Recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	recorders := make([]*fusetest.Recorder, many)
	for i := range recorders {
		recorders[i] = fusetest.NewRecorder(false)
		following.Go(func() {
			opt := stream.FollowOptions{Logger: slog.New(slog.DiscardHandler)}
			stream.Follow(ctx, "http://"+n.addr, n.db, recorders[i], opt) // until it is cancelled
		})
	}
	t.Cleanup(func() { cancel(); following.Wait() })
	return recorders
}

// awaitAll waits until all have the primary's state.
func awaitAll(t *testing.T, primary *node, recorders []*fusetest.Recorder, mounts []*node) {
	t.Helper()
	want := primary.pos()
	for _, r := range recorders {
		err := r.Await(patience, func() error {
			if _, got := r.Pos(); got.String() != want {
				return fmt.Errorf("a follower is at %s, the primary at %s", got, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range mounts {
		awaitEqual(t, primary, r)
	}
}
