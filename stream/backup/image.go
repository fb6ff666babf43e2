package backup

import (
	"fmt"
	"io"
	"os"

	"weir/stream"
)

// image is a database file in the making. After an error it is of no use.
type image struct {
	file *os.File
	sums *stream.Sums
	size uint32     // pages
	pos  stream.Pos // zero: before the first transaction
}

func newImage(f *os.File) *image { return &image{file: f, sums: stream.NewSums(0)} }

// begin empties the image for the pages of a database that is at h.Pos, or was while they are read.
func (m *image) begin(h stream.SnapshotHeader) error {
	m.sums, m.size, m.pos = stream.NewSums(h.PageSize), h.Size, h.Pos
	return m.file.Truncate(0)
}

// set writes a page.
func (m *image) set(pgno uint32, data []byte) error {
	m.sums.Set(pgno, stream.PageSum(pgno, data))
	_, err := m.file.WriteAt(data, int64(pgno-1)*int64(len(data)))
	return err
}

// apply applies the transaction that follows. It may be several in one file.
func (m *image) apply(t *stream.TxnReader) error {
	h := t.Header()
	if t.Pre() != m.pos && !h.IsSnapshot() {
		return fmt.Errorf("transaction %s follows %s, the database is at %s: %w", h.MinTXID, t.Pre(), m.pos, stream.ErrPosMismatch)
	}
	if h.IsSnapshot() || h.PageSize != m.sums.PageSize() { // has all pages
		if err := m.begin(stream.SnapshotHeader{PageSize: h.PageSize}); err != nil {
			return err
		}
	}
	for {
		pgno, data, err := t.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = m.set(pgno, data)
		}
		if err != nil {
			return err
		}
	}
	m.pos = t.Post()
	return m.resize(h.Commit)
}

func (m *image) resize(size uint32) error {
	m.sums.Truncate(size)
	m.size = size
	return m.file.Truncate(int64(size) * int64(m.sums.PageSize()))
}

// check compares the pages with the position.
func (m *image) check() error {
	if got, want := m.sums.Total(), m.pos.PostApplyChecksum; got != want {
		return fmt.Errorf("%w: the pages have checksum %s at %s", stream.ErrPosMismatch, got, m.pos)
	}
	return nil
}

func (m *image) header() stream.SnapshotHeader {
	return stream.SnapshotHeader{Pos: m.pos, PageSize: m.sums.PageSize(), Size: m.size}
}
