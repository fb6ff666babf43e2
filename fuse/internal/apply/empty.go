package apply

import (
	"bytes"
	"encoding/binary"
)

// An upstream's database that is removed, or cut to nothing, has no page. A database in WAL mode
// has at least one, and open connections keep the file, so readers get an empty database of one
// page instead. The page checksums know nothing of it: to the stream the database has no page.

// leafTablePage is the type of the b-tree page that holds an empty schema.
const leafTablePage = 13

// Offsets of the schema cookie in page 1, and of the b-tree page behind the database header
// (https://www.sqlite.org/fileformat.html).
const (
	schemaCookieOffset = 40
	rootPageOffset     = 100
)

// emptyPage1 is page 1 of a database without a table. The schema cookie is random, so that no
// connection takes the schema that it knows for this one's.
func emptyPage1(pageSize uint32) []byte {
	page := make([]byte, pageSize)
	copy(page, "SQLite format 3\x00")
	short, long := binary.BigEndian.PutUint16, binary.BigEndian.PutUint32
	short(page[16:], uint16(pageSize>>16|pageSize&0xffff)) // 65536 is 1
	copy(page[18:], []byte{2, 2, 0, 64, 32, 32})
	long(page[24:], 1) // change counter
	long(page[28:], 1) // pages
	long(page[schemaCookieOffset:], random())
	long(page[44:], 4)       // schema format
	long(page[56:], 1)       // UTF-8
	long(page[92:], 1)       // the change counter for which the size is valid
	long(page[96:], 3040001) // written as SQLite 3.40.1 does
	page[rootPageOffset] = leafTablePage
	short(page[rootPageOffset+5:], uint16(pageSize)) // cells begin at the end; 65536 is 0
	return page
}

// isEmptyPage1 tells whether a database is what emptyPage1 made, whatever the cookie and the file
// format version.
func isEmptyPage1(page1 []byte, size uint32) bool {
	want := emptyPage1(uint32(len(page1)))
	copy(want[schemaCookieOffset:], page1[schemaCookieOffset:schemaCookieOffset+4])
	copy(want[18:20], page1[18:20])
	return size == 1 && bytes.Equal(page1, want)
}
