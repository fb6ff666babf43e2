package fusetest

import (
	"bytes"
	"fmt"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// encodeSums are the checksums of a database's pages, as [Answer.Pages] decodes them.
func encodeSums(data []byte) ([]byte, error) {
	h, err := dbfile.ParseHeader(data)
	if err != nil {
		return nil, err
	}
	sums, size := stream.NewSums(h.PageSize), int(h.PageSize)
	for at := 0; at < len(data); at += size {
		pgno := uint32(at/size) + 1
		sums.Set(pgno, stream.PageSum(pgno, data[at:at+size]))
	}
	sums.Set(1, Versionless(data[:size]))
	var table bytes.Buffer
	_, err = sums.WriteTo(&table)
	return table.Bytes(), err
}

// Versionless is the checksum of page 1 without the file format versions, in which a replica differs.
func Versionless(page1 []byte) stream.Checksum {
	b := bytes.Clone(page1)
	b[dbfile.WriteVersionOffset], b[dbfile.ReadVersionOffset] = 0, 0
	return stream.PageSum(1, b)
}

// PageError is the first page in which two databases of one size differ.
type PageError struct{ Pgno, Of uint32 }

func (e *PageError) Error() string { return fmt.Sprintf("page %d of %d is another one", e.Pgno, e.Of) }

// Diff says where two databases differ, nil if nowhere.
func Diff(got, want *stream.Sums) error {
	if got.Len() == 0 && want.Len() == 0 {
		return nil
	}
	if got.PageSize() != want.PageSize() || got.Len() != want.Len() {
		return fmt.Errorf("%d pages of %d bytes, want %d of %d", got.Len(), got.PageSize(), want.Len(), want.PageSize())
	}
	for pgno := uint32(1); pgno <= got.Len(); pgno++ {
		if got.Page(pgno) != want.Page(pgno) {
			return &PageError{pgno, got.Len()}
		}
	}
	return nil
}
