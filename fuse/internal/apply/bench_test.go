package apply

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/superfly/ltx"

	"weir/stream"
)

// BenchmarkApply applies transactions of so many pages, half of each random, with what checkpoints they need. An operation
// is a transaction.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 3, 25, 400} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := newScribbler(b, 1000)
			b.SetBytes(int64(n) * benchPageSize)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				payload := s.transaction(n)
				b.StartTimer()
				s.apply(payload)
			}
		})
	}
}

// BenchmarkBacklog is BenchmarkApply for transactions of which a hundred are here at a time.
func BenchmarkBacklog(b *testing.B) {
	for _, n := range []int{1, 3, 25} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := newScribbler(b, 1000)
			b.SetBytes(int64(n) * benchPageSize)
			b.ReportAllocs()
			for done := 0; done < b.N; {
				b.StopTimer()
				var payloads [][]byte
				for ; len(payloads) < 100 && done < b.N; done++ {
					payloads = append(payloads, bytes.Clone(s.transaction(n)))
				}
				b.StartTimer()
				s.r.mustApplyAll(payloads...)
			}
		})
	}
}

const benchPageSize = 4096

// scribbler makes transactions that have no meaning to SQLite, for a replica of its own.
type scribbler struct {
	*testing.B
	r     *replica
	pages [][]byte // of the database
	pos   stream.Pos
	rand  *rand.Rand
	noise *rand.ChaCha8
	buf   bytes.Buffer
}

// newScribbler begins with a database of size pages.
func newScribbler(b *testing.B, size int) *scribbler {
	b.Helper()
	first := newSource(b, benchPageSize, "wal").state[:benchPageSize] // SQLite's header
	noise := rand.NewChaCha8([32]byte{})
	s := &scribbler{B: b, r: openReplicaWith(b, b.TempDir(), Options{}), pages: [][]byte{first}, rand: rand.New(noise), noise: noise}
	for len(s.pages) < size {
		s.pages = append(s.pages, make([]byte, benchPageSize))
	}
	sums := stream.NewSums(benchPageSize)
	for i, page := range s.pages {
		sums.Set(uint32(i+1), stream.PageSum(uint32(i+1), page))
	}
	s.apply(s.encode(0, size, sums.Total()))
	return s
}

// transaction changes n pages in a row, but not the first.
func (s *scribbler) transaction(n int) []byte {
	s.Helper()
	from := 1 + s.rand.IntN(len(s.pages)-n)
	sum := s.pos.PostApplyChecksum
	for i := from; i < from+n; i++ {
		sum ^= stream.PageSum(uint32(i+1), s.pages[i])
		s.noise.Read(s.pages[i][:benchPageSize/2])
		sum ^= stream.PageSum(uint32(i+1), s.pages[i])
	}
	return s.encode(from, from+n, sum|ltx.ChecksumFlag)
}

// encode makes a transaction of the pages from one to before another; it is valid until the next.
func (s *scribbler) encode(from, to int, post stream.Checksum) []byte {
	s.Helper()
	s.buf.Reset()
	enc, err := ltx.NewEncoder(&s.buf)
	if err != nil {
		s.Fatal(err)
	}
	h := ltx.Header{Version: ltx.Version, PageSize: benchPageSize, Commit: uint32(len(s.pages)), MinTXID: s.pos.TXID + 1, MaxTXID: s.pos.TXID + 1,
		PreApplyChecksum: s.pos.PostApplyChecksum}
	err = enc.EncodeHeader(h)
	for i := from; i < to && err == nil; i++ {
		err = enc.EncodePage(ltx.PageHeader{Pgno: uint32(i + 1)}, s.pages[i])
	}
	enc.SetPostApplyChecksum(post)
	if err == nil {
		err = enc.Close()
	}
	if err != nil {
		s.Fatal(err)
	}
	s.pos = stream.Pos{TXID: h.MinTXID, PostApplyChecksum: post}
	return s.buf.Bytes()
}

func (s *scribbler) apply(payload []byte) {
	s.Helper()
	if err := s.r.Apply(s.r.ctx(), bytes.NewReader(payload), int64(len(payload)), noMore); err != nil {
		s.Fatal(err)
	}
}
