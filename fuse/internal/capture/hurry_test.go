package capture

import (
	"testing"

	"weir/stream"
)

// Many transactions that wait are stored as they are, and the last of them, behind which nothing waits, is compressed.
func TestBacklogIsStored(t *testing.T) {
	const waiting = 100
	w := newWALWriter(t)
	w.restart(waiting)
	w.publish(w.headers[waiting-1])
	from := w.d.log.Published()
	w.d.Capture()
	w.check(1 + waiting)
	sizes := w.records(from)
	if len(sizes) != waiting {
		t.Fatalf("%d records, want %d", len(sizes), waiting)
	}
	if got := sizes[0]; got < benchPages*4096 {
		t.Errorf("the first of %d transactions has %d bytes: it was compressed, though others wait", waiting, got)
	}
	if got := sizes[waiting-1]; got >= benchPages*4096 {
		t.Errorf("the last has %d bytes: it was not compressed, though nothing waits behind it", got)
	}
}

// records are the sizes of the log's transactions from a position on, in bytes.
func (r *rig) records(from stream.Pos) (sizes []int64) {
	r.Helper()
	reader, err := r.d.log.Reader(from)
	if err != nil {
		r.Fatal(err)
	}
	defer reader.Close()
	for reader.Pos() != r.d.log.Published() {
		rec, err := reader.Next(r.Context())
		if err != nil {
			r.Fatal(err)
		}
		sizes = append(sizes, rec.Data.Size())
	}
	return sizes
}
