package state

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"weir/stream"
)

// What is read in parts is what is read page by page, also where the file ends within a page.
func TestReadSums(t *testing.T) {
	data := make([]byte, 5<<20+300)
	rand.NewChaCha8([32]byte{}).Read(data)
	for _, pageSize := range []uint32{512, 4096, 65536} {
		for _, size := range []uint32{0, 1, 16, 17, 400, uint32(len(data))/pageSize + 1, uint32(len(data))/pageSize + 40} {
			got, err := ReadSums(bytes.NewReader(data), pageSize, size)
			if err != nil {
				t.Fatal(err)
			}
			want, page := stream.NewSums(pageSize), make([]byte, pageSize)
			for pgno := uint32(1); pgno <= size; pgno++ {
				clear(page)
				bytes.NewReader(data).ReadAt(page, int64(pgno-1)*int64(pageSize)) // short at the end
				want.Set(pgno, stream.PageSum(pgno, page))
			}
			if got.Len() != want.Len() || got.Total() != want.Total() || got.Page(size) != want.Page(size) {
				t.Errorf("%d pages of %d bytes: got %s of %d, want %s of %d", size, pageSize, got.Total(), got.Len(), want.Total(), want.Len())
			}
		}
	}
}

func TestReadSumsFails(t *testing.T) {
	f := readerAt{iotest.ErrReader(io.ErrClosedPipe)}
	if _, err := ReadSums(f, 4096, 1000); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want %v", err, io.ErrClosedPipe)
	}
}

type readerAt struct{ io.Reader }

func (r readerAt) ReadAt(b []byte, _ int64) (int, error) { return r.Read(b) }
