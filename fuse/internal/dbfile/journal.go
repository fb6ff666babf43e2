package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// JournalHeaderSize is the length of a journal header. It takes a whole sector in the file, see
// JournalHeader.SectorSize.
const JournalHeaderSize = 28

// JournalNRecUnknown is the value of JournalHeader.NRec that says: as many records as the file has.
const JournalNRecUnknown = 0xffffffff

const journalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

// ErrNotJournal says that the bytes are not the header of a rollback journal.
var ErrNotJournal = errors.New("not a journal header")

// JournalHeader is the first header of a rollback journal.
type JournalHeader struct {
	// Synced is false as long as SQLite has not put magic and NRec in: it does so when the records
	// that follow are on disk, and only then changes the database. A journal that is not synced is
	// not hot.
	Synced     bool
	NRec       uint32 // records after the header, or JournalNRecUnknown
	Nonce      uint32 // start of each record's checksum
	OrigSize   uint32 // pages of the database before the transaction
	SectorSize uint32 // bytes; headers are at multiples of it
	PageSize   uint32 // bytes
}

// ParseJournalHeader reads the header at the start of a journal.
func ParseJournalHeader(b []byte) (JournalHeader, error) {
	if len(b) < JournalHeaderSize {
		return JournalHeader{}, fmt.Errorf("parse journal header: %w: %d of %d", ErrShort, len(b), JournalHeaderSize)
	}
	h := JournalHeader{
		Synced:     string(b[:8]) == journalMagic,
		NRec:       binary.BigEndian.Uint32(b[8:]),
		Nonce:      binary.BigEndian.Uint32(b[12:]),
		OrigSize:   binary.BigEndian.Uint32(b[16:]),
		SectorSize: binary.BigEndian.Uint32(b[20:]),
		PageSize:   binary.BigEndian.Uint32(b[24:]),
	}
	if !h.Synced && !zero(b[:8]) {
		return JournalHeader{}, fmt.Errorf("parse journal header: %w: wrong magic", ErrNotJournal)
	}
	if !ValidPageSize(h.PageSize) || h.SectorSize < 32 || h.SectorSize > 65536 || h.SectorSize&(h.SectorSize-1) != 0 {
		return JournalHeader{}, fmt.Errorf("parse journal header: %w: page size %d, sector size %d", ErrNotJournal, h.PageSize, h.SectorSize)
	}
	return h, nil
}

// RecordSize is the length of a record: page number, page, checksum.
func (h *JournalHeader) RecordSize() int64 { return int64(h.PageSize) + 8 }

// Record reads one record. It is not ok if its checksum is wrong or it names no page.
func (h *JournalHeader) Record(b []byte) (pgno uint32, page []byte, ok bool) {
	if int64(len(b)) != h.RecordSize() {
		return 0, nil, false
	}
	pgno, page = binary.BigEndian.Uint32(b), b[4:4+h.PageSize]
	sum := binary.BigEndian.Uint32(b[4+h.PageSize:])
	return pgno, page, pgno != 0 && sum == h.checksum(page)
}

// checksum sums every 200th byte of the page, from its end.
func (h *JournalHeader) checksum(page []byte) uint32 {
	sum := h.Nonce
	for i := len(page) - 200; i > 0; i -= 200 {
		sum += uint32(page[i])
	}
	return sum
}

// JournalEnded reports whether a journal whose content starts with b is over: the file is empty, or
// its header zeroed (journal_mode PERSIST). The third way to end a journal is to delete the file.
func JournalEnded(b []byte) bool {
	return zero(b[:min(len(b), JournalHeaderSize)])
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
