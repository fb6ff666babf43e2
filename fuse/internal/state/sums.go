package state

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"weir/stream"
)

// ReadSums reads the checksums of the first size pages of a database file, with all processors. What lies beyond its end
// is zeros, as for SQLite.
func ReadSums(f io.ReaderAt, pageSize, size uint32) (*stream.Sums, error) {
	sums := stream.NewSums(pageSize)
	parts := make([]part, runtime.GOMAXPROCS(0))
	for next := uint32(1); next <= size; {
		var reading sync.WaitGroup
		for i := range parts {
			p := &parts[i]
			p.first, p.n = next, min(partBytes/pageSize, size+1-next)
			next += p.n
			reading.Go(func() { p.read(f, pageSize) })
		}
		reading.Wait()
		for i := range parts {
			if err := parts[i].err; err != nil {
				return nil, err
			}
			for j, sum := range parts[i].sums {
				sums.Set(parts[i].first+uint32(j), sum)
			}
		}
	}
	return sums, nil
}

// partBytes is how much is read at a time.
const partBytes = 1 << 20

// part is some pages of a file.
type part struct {
	first, n uint32
	buf      []byte
	sums     []stream.Checksum
	err      error
}

func (p *part) read(f io.ReaderAt, pageSize uint32) {
	if p.buf == nil {
		p.buf = make([]byte, partBytes)
	}
	b := p.buf[:p.n*pageSize]
	n, err := f.ReadAt(b, int64(p.first-1)*int64(pageSize))
	if n < len(b) && err != nil && !errors.Is(err, io.EOF) {
		p.err = fmt.Errorf("read page %d: %w", p.first+uint32(n)/pageSize, err)
	}
	clear(b[n:])
	p.sums = p.sums[:0]
	for i := range p.n {
		p.sums = append(p.sums, stream.PageSum(p.first+i, b[i*pageSize:][:pageSize]))
	}
}
