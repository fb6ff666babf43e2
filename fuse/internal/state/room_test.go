package state

import (
	"testing"

	"weir/stream"
)

func TestLimitLog(t *testing.T) {
	for _, tt := range []struct {
		size, max, segment int64
	}{
		{1 << 40, 1 << 30, 16 << 20},
		{80 << 20, 8 << 20, 1 << 20},
		{0, 0, 0},
	} {
		got := limitLog(stream.LogOptions{}, tt.size)
		if got.MaxBytes != tt.max || got.SegmentSize != tt.segment {
			t.Errorf("file system of %d bytes: got %d in segments of %d, want %d in %d", tt.size, got.MaxBytes, got.SegmentSize, tt.max, tt.segment)
		}
	}
	asked := stream.LogOptions{MaxBytes: 5, SegmentSize: 3}
	if got := limitLog(asked, 1<<40); got.MaxBytes != 5 || got.SegmentSize != 3 {
		t.Errorf("got %d in segments of %d, want what was asked for", got.MaxBytes, got.SegmentSize)
	}
}
