package stream

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/superfly/ltx"
)

// sink is a replica that takes transactions and keeps nothing.
type sink struct {
	id   string
	pos  Pos
	took chan struct{}
}

func (*sink) Told(Standing, time.Time) {}

func (s *sink) Pos() (string, Pos) { return s.id, s.pos }
func (s *sink) Sums() *Sums        { return nil }
func (s *sink) Adopt(_ context.Context, l Lineage, _ []string) error {
	s.id = l.ID
	return nil
}
func (s *sink) Heard(Heartbeat) error { return nil }
func (s *sink) SetConnected(up bool, _ error) {
	if up {
		s.took <- struct{}{}
	}
}

func (s *sink) Apply(_ context.Context, r io.Reader, n int64, _ More) error {
	t, err := NewTxnReader(r, n)
	for err == nil {
		_, _, err = t.Next()
	}
	if err != io.EOF {
		return err
	}
	s.pos = t.Post()
	s.took <- struct{}{}
	return nil
}

func (s *sink) BeginSnapshot(context.Context, SnapshotHeader) (SnapshotWriter, error) {
	panic("no snapshot is needed")
}

// benchPages is what each transaction of a benchmark has.
func benchPages() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	pages := make([][]byte, 3)
	for i := range pages {
		pages[i] = make([]byte, 4096)
		for j := range 2048 {
			pages[i][j] = byte(r.Uint32())
		}
	}
	return pages
}

// commitPages commits the same pages each time.
func commitPages(b *testing.B, l *Log, pages [][]byte) {
	b.Helper()
	sum := ltx.ChecksumFlag
	for i, p := range pages {
		sum = ltx.ChecksumFlag | (sum ^ PageSum(uint32(i+1), p))
	}
	last := l.Last()
	w, err := l.Begin(ltx.Header{
		Version: ltx.Version, PageSize: 4096, Commit: uint32(len(pages)), MinTXID: last.TXID + 1, MaxTXID: last.TXID + 1, PreApplyChecksum: last.PostApplyChecksum,
	})
	if err != nil {
		b.Fatal(err)
	}
	for i, p := range pages {
		if err := w.WritePage(uint32(i+1), p); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := w.Commit(sum); err != nil {
		b.Fatal(err)
	}
	l.Publish()
}

// BenchmarkCommit appends transactions of three pages.
func BenchmarkCommit(b *testing.B) {
	l, pages := openTestLog(b, b.TempDir(), LogOptions{MaxBytes: 64 << 20}), benchPages()
	b.SetBytes(3 * 4096)
	b.ReportAllocs()
	for b.Loop() {
		commitPages(b, l, pages)
	}
}

// BenchmarkLatency is the time from the start of a commit of three pages until
// a follower has it, over HTTP on the loopback.
func BenchmarkLatency(b *testing.B) {
	m, pages := newModel(b, LogOptions{}), benchPages()
	_, url := serve(b, m)
	s := &sink{took: make(chan struct{}, 1)}
	follow(b, url, s)
	<-s.took
	var all []time.Duration
	for b.Loop() {
		start := time.Now()
		commitPages(b, m.log, pages)
		<-s.took
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

func BenchmarkPageSum(b *testing.B) {
	p := benchPages()[0]
	b.SetBytes(4096)
	for b.Loop() {
		PageSum(7, p)
	}
}
