// Package dbfile reads and writes SQLite's file formats, as far as replication needs them: the
// database header, the write-ahead log (WAL), the wal-index, the rollback journal's header, the
// bytes that SQLite locks, and the roles of files by name. It opens nothing and locks nothing:
// bytes in, values out.
//
// The formats are those of https://sqlite.org/fileformat2.html and
// https://sqlite.org/walformat.html, and the words are SQLite's: page, pgno, frame, salt, mxFrame,
// nBackfill, read-mark, nonce.
//
// # Byte orders
//
// The database, the WAL and the journal are big-endian. The WAL's checksum sums 32-bit words in the
// order that its header names ([WALHeader].BigEndian). The wal-index lives in shared memory and is
// in the byte order of the machine, but for its salts, which are the eight bytes of the WAL header
// as they stand there.
//
// # Three results of a decoder
//
// A decoder tells apart the end (io.EOF), input too short ([ErrShort]), and input that is none of
// what it should be (an error of its own for each format). A WAL is special: it has no end marker,
// and what lies after its last frame is the rest of an earlier generation. So [WALReader] reports
// io.EOF wherever the chain of salts and checksums ends, and may be asked again when the file has
// grown.
//
// Lengths and sizes are checked before anything is indexed or allocated by them.
package dbfile
