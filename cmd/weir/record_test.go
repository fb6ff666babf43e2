package main

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"weir/fuse/fusetest"
	"weir/stream"
)

// record follows a node's stream.
func record(t *testing.T, n *node) *fusetest.Recorder {
	t.Helper()
	r := fusetest.NewRecorder(false)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		opt := stream.FollowOptions{Logger: slog.New(slog.DiscardHandler), MaxBackoff: 50 * time.Millisecond}
		ended <- stream.Follow(ctx, "http://"+n.addr, n.db, r, opt)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended // cancelled
	})
	return r
}

// compareRecords waits until both streams have led to one position, and compares the way there.
func compareRecords(t *testing.T, primary, replica *fusetest.Recorder) {
	t.Helper()
	err := replica.Await(patience, func() error {
		_, want := primary.Pos()
		if _, got := replica.Pos(); got != want || got.TXID == 0 {
			return fmt.Errorf("the replica's stream is at %s, the primary's at %s", got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[stream.TXID]stream.Pos)
	for _, pos := range primary.Since(0) {
		want[pos.TXID] = pos
	}
	for _, pos := range replica.Since(0) {
		if w, ok := want[pos.TXID]; ok && w != pos {
			t.Errorf("the replica's stream was at %s, the primary's at %s", pos, w)
		}
	}
}
