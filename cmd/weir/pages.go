package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Offsets in the database header, https://sqlite.org/fileformat2.html#the_database_header
const (
	pageSizeAt     = 16
	writeVersionAt = 18
	readVersionAt  = 19
	headerSize     = 100
)

// comparePages returns how many pages two databases have, if they have the same ones. The file format versions may
// differ: a replica is always in WAL mode, whatever its primary uses.
func comparePages(primary, replica []byte) (n int, err error) {
	if len(primary) < headerSize || len(replica) < headerSize {
		return 0, fmt.Errorf("primary has %d bytes, replica %d: not databases", len(primary), len(replica))
	}
	size := int(binary.BigEndian.Uint16(primary[pageSizeAt:]))
	if size == 1 {
		size = 65536
	}
	if len(primary) != len(replica) {
		return 0, fmt.Errorf("primary has %d pages of %d bytes, replica %d", len(primary)/size, size, len(replica)/size)
	}
	for n = 0; n*size < len(primary); n++ {
		a, b := primary[n*size:(n+1)*size], replica[n*size:(n+1)*size]
		if n == 0 {
			a, b = withoutVersions(a), withoutVersions(b)
		}
		if !bytes.Equal(a, b) {
			return n, fmt.Errorf("page %d differs", n+1)
		}
	}
	return n, nil
}

func withoutVersions(page []byte) []byte {
	page = bytes.Clone(page)
	page[writeVersionAt], page[readVersionAt] = 0, 0
	return page
}
