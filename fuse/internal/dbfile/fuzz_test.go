package dbfile

import (
	"bytes"
	"io"
	"testing"
)

func FuzzParseHeader(f *testing.F) {
	f.Add(newSQLite(f, 512, "wal").read("")[:HeaderSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHeader(b); err == nil && !ValidPageSize(h.PageSize) {
			t.Errorf("got page size %d", h.PageSize)
		}
	})
}

func FuzzWALReader(f *testing.F) {
	s := newSQLite(f, 512, "wal")
	s.fill(3)
	f.Add(s.read("-wal"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := OpenWAL(bytes.NewReader(b))
		if err != nil {
			return
		}
		h, head := r.Header(), make([]byte, WALHeaderSize)
		if h.Encode(head); !bytes.Equal(head, b[:WALHeaderSize]) {
			t.Errorf("got header %x, want %x", head, b[:WALHeaderSize])
		}
		for {
			before := r.Sum()
			fr, err := r.Next(nil)
			if err == io.EOF {
				return
			}
			frame := make([]byte, FrameHeaderSize)
			EncodeFrameHeader(frame, &h, fr, before, r.Page())
			if want := b[h.FrameOffset(r.Frame()):][:FrameHeaderSize]; !bytes.Equal(frame, want) {
				t.Errorf("frame %d: got %x, want %x", r.Frame(), frame, want)
			}
		}
	})
}

func FuzzParseIndexHeader(f *testing.F) {
	f.Add(newSQLite(f, 512, "wal").read("-shm")[:2*IndexHeaderSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseIndexHeader(b)
		if err != nil {
			return
		}
		again := make([]byte, 2*IndexHeaderSize)
		h.Encode(again)
		h.Encode(again[IndexHeaderSize:])
		if got, err := ParseIndexHeader(again); err != nil || got != h {
			t.Errorf("got %+v, %v; want %+v", got, err, h)
		}
	})
}

// FuzzHashFind reads a region of any content: it must end, and stay inside.
func FuzzHashFind(f *testing.F) {
	s := newSQLite(f, 512, "wal")
	s.fill(100)
	f.Add(s.read("-shm"), 0, uint32(2), uint32(1), uint32(100))
	f.Fuzz(func(t *testing.T, b []byte, i int, pgno, lo, hi uint32) {
		region := make([]byte, RegionSize)
		copy(region, b)
		if i < 0 || i > 1000 {
			return
		}
		if n := HashFind(region, i, pgno, lo, hi); n != 0 && (n < lo || n > hi) {
			t.Errorf("got frame %d, want one of %d to %d", n, lo, hi)
		}
	})
}

func FuzzParseJournalHeader(f *testing.F) {
	s := newSQLite(f, 512, "delete")
	s.exec("BEGIN")
	s.fill(1)
	f.Add(s.read("-journal"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseJournalHeader(b)
		if err != nil {
			return
		}
		if n := h.RecordSize(); int64(len(b)) >= n {
			h.Record(b[:n])
		}
	})
}

func FuzzRoleOf(f *testing.F) {
	f.Add("db-mj0A1B2C9FF")
	f.Fuzz(func(t *testing.T, name string) {
		db, role := RoleOf(name)
		if len(db) > len(name) || db == "" != (role == RoleOther) {
			t.Errorf("%q: got %q, %v", name, db, role)
		}
	})
}
