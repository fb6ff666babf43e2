package dbfile

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestHeaderOfSQLite(t *testing.T) {
	for _, size := range pageSizes {
		for mode, version := range map[string]byte{"wal": VersionWAL, "delete": VersionRollback} {
			t.Run(fmt.Sprintf("%d %s", size, mode), func(t *testing.T) {
				s := newSQLite(t, size, mode)
				s.fill(50)
				if mode == "wal" {
					s.exec("PRAGMA wal_checkpoint(TRUNCATE)")
				}
				b := s.read("")
				h, err := ParseHeader(b)
				if err != nil {
					t.Fatal(err)
				}
				if h.PageSize != size || h.WriteVersion != version || h.ReadVersion != version || h.WAL() != (mode == "wal") {
					t.Errorf("got %+v, want page size %d and version %d", h, size, version)
				}
				if want := uint32(len(b)) / size; !h.SizeValid() || h.Size != want {
					t.Errorf("got %d pages, valid %v, want %d", h.Size, h.SizeValid(), want)
				}
			})
		}
	}
}

func TestHeaderErrors(t *testing.T) {
	s := newSQLite(t, 512, "delete")
	good := s.read("")[:HeaderSize]
	for _, tc := range []struct {
		name   string
		damage func([]byte) []byte
		want   error
	}{
		{"empty", func(b []byte) []byte { return nil }, ErrShort},
		{"short", func(b []byte) []byte { return b[:99] }, ErrShort},
		{"magic", func(b []byte) []byte { b[3]++; return b }, ErrNotDatabase},
		{"page size 513", func(b []byte) []byte { b[17]++; return b }, ErrNotDatabase},
		{"page size 256", func(b []byte) []byte { b[16] = 1; return b }, ErrNotDatabase},
		{"page size 0", func(b []byte) []byte { b[16] = 0; return b }, ErrNotDatabase},
	} {
		if _, err := ParseHeader(tc.damage(bytes.Clone(good))); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestIndexHeaderErrors(t *testing.T) {
	s := newSQLite(t, 512, "wal")
	good := s.read("-shm")[:2*IndexHeaderSize]
	both := func(i int) func([]byte) []byte {
		return func(b []byte) []byte { b[i] ^= 1; b[i+IndexHeaderSize] ^= 1; return b }
	}
	for _, tc := range []struct {
		name   string
		damage func([]byte) []byte
		want   error
	}{
		{"short", func(b []byte) []byte { return b[:95] }, ErrShort},
		{"zero", func(b []byte) []byte { clear(b); return b }, ErrIndexInvalid},
		{"first copy", func(b []byte) []byte { b[16]++; return b }, ErrIndexTorn},
		{"second copy", func(b []byte) []byte { b[16+IndexHeaderSize]++; return b }, ErrIndexTorn},
		{"checksum", both(20), ErrIndexTorn},
		{"not initialised", both(12), ErrIndexInvalid},
	} {
		if _, err := ParseIndexHeader(tc.damage(bytes.Clone(good))); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	h, err := ParseIndexHeader(good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseCkptInfo(good); !errors.Is(err, ErrShort) {
		t.Errorf("checkpoint information: got %v, want %v", err, ErrShort)
	}
	h.PageSize = MaxPageSize
	h.Encode(good)
	h.Encode(good[IndexHeaderSize:])
	if got, err := ParseIndexHeader(good); err != nil || got != h {
		t.Errorf("got %+v, %v; want %+v", got, err, h)
	}
}

// TestJournalOfSQLite follows the journal through a transaction: not synced, synced when the cache
// spills, ended.
func TestJournalOfSQLite(t *testing.T) {
	for _, size := range pageSizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newSQLite(t, size, "persist")
			s.fill(int(size))
			if !JournalEnded(s.read("-journal")) {
				t.Error("journal after a commit has not ended")
			}
			nPage := uint32(len(s.read(""))) / size
			s.exec("BEGIN")
			s.exec("UPDATE t SET v=randomblob(300) WHERE id=1")
			h := parseJournal(t, s)
			if want := (JournalHeader{Nonce: h.Nonce, OrigSize: nPage, SectorSize: h.SectorSize, PageSize: size}); h != want {
				t.Errorf("got %+v, want %+v", h, want)
			}
			s.exec("PRAGMA cache_size=2")
			s.exec("UPDATE t SET v=randomblob(300)")
			if h = parseJournal(t, s); !h.Synced || h.NRec == 0 {
				t.Errorf("got %+v after a spill, want it synced", h)
			}
			checkRecords(t, s.read("-journal"), h)
			s.exec("COMMIT")
			if !JournalEnded(s.read("-journal")) {
				t.Error("journal after the commit has not ended")
			}
		})
	}
}

func parseJournal(t *testing.T, s *sqliteDB) JournalHeader {
	t.Helper()
	b := s.read("-journal")
	if JournalEnded(b) {
		t.Fatal("journal of a transaction has ended")
	}
	h, err := ParseJournalHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func checkRecords(t *testing.T, journal []byte, h JournalHeader) {
	t.Helper()
	b := journal[h.SectorSize:]
	for i := range h.NRec {
		record := b[:h.RecordSize()]
		if pgno, _, ok := h.Record(record); !ok || pgno > h.OrigSize {
			t.Fatalf("record %d of page %d is not ok", i, pgno)
		}
		b = b[h.RecordSize():]
	}
}

func TestJournalErrors(t *testing.T) {
	s := newSQLite(t, 512, "delete")
	s.exec("BEGIN")
	s.fill(1)
	good := s.read("-journal")[:JournalHeaderSize]
	for i, want := range map[int]error{0: ErrNotJournal, 6: ErrNotJournal, 22: ErrNotJournal, 26: ErrNotJournal} {
		b := bytes.Clone(good)
		b[i] ^= 0x55
		if _, err := ParseJournalHeader(b); !errors.Is(err, want) {
			t.Errorf("byte %d damaged: got %v, want %v", i, err, want)
		}
	}
	if _, err := ParseJournalHeader(good[:27]); !errors.Is(err, ErrShort) {
		t.Errorf("got %v, want %v", err, ErrShort)
	}
}

func TestJournalEnded(t *testing.T) {
	for _, tc := range []struct {
		b    []byte
		want bool
	}{
		{nil, true},
		{make([]byte, 28), true},
		{append(make([]byte, 28), 1), true},
		{append(make([]byte, 27), 1), false},
		{[]byte(journalMagic), false},
	} {
		if got := JournalEnded(tc.b); got != tc.want {
			t.Errorf("%x: got %v, want %v", tc.b, got, tc.want)
		}
	}
}

func TestRoleOf(t *testing.T) {
	for _, tc := range []struct {
		name, db string
		role     Role
	}{
		{"db", "db", RoleDatabase},
		{"db-wal", "db", RoleWAL},
		{"db-shm", "db", RoleSHM},
		{"db-journal", "db", RoleJournal},
		{"db-mj0A1B2C9FF", "db", RoleSuperJournal},
		{"db-mj0A1B2C8FF", "db-mj0A1B2C8FF", RoleDatabase},
		{"db-mj0a1b2c9ff", "db-mj0a1b2c9ff", RoleDatabase},
		{"db-mj0A1B2C9F", "db-mj0A1B2C9F", RoleDatabase},
		{"a-wal-wal", "a-wal", RoleWAL},
		{"-wal", "", RoleOther},
		{"-mj0A1B2C9FF", "", RoleOther},
		{"", "", RoleOther},
	} {
		if db, role := RoleOf(tc.name); db != tc.db || role != tc.role {
			t.Errorf("%q: got %q, %v; want %q, %v", tc.name, db, role, tc.db, tc.role)
		}
	}
}

func TestLockBytes(t *testing.T) {
	for size, want := range map[uint32]uint32{512: 2097153, 4096: 262145, 65536: 16385} {
		if got := LockPgno(size); got != want {
			t.Errorf("page size %d: got lock page %d, want %d", size, got, want)
		}
	}
	if got := ReadLock(4); got != 127 {
		t.Errorf("got lock byte %d of read-mark 4, want 127", got)
	}
}
