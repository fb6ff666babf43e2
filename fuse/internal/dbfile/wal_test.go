package dbfile

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// readFrames reads a WAL to its end.
func readFrames(t testing.TB, wal []byte) (*WALReader, []Frame) {
	t.Helper()
	r, err := OpenWAL(bytes.NewReader(wal))
	if err != nil {
		t.Fatal(err)
	}
	var frames []Frame
	for {
		f, err := r.Next(nil)
		if err == io.EOF {
			return r, frames
		}
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
}

// TestWALIndexOfSQLite compares what SQLite has in its wal-index with what we make of the WAL.
func TestWALIndexOfSQLite(t *testing.T) {
	for _, size := range pageSizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := newSQLite(t, size, "wal")
			for range 30 {
				s.fill(int(size) / 100)
			}
			wal, shm := s.read("-wal"), s.read("-shm")
			r, frames := readFrames(t, wal)
			if want := (int64(len(wal)) - WALHeaderSize) / r.h.FrameSize(); int64(len(frames)) != want {
				t.Fatalf("got %d frames, want %d", len(frames), want)
			}
			want := IndexHeader{MxFrame: r.Frame(), PageSize: size, FrameCksum: r.Sum(), Salt: r.Header().Salt,
				Size: frames[len(frames)-1].Size, BigEndian: r.Header().BigEndian}
			h, err := ParseIndexHeader(shm)
			if err != nil {
				t.Fatal(err)
			}
			want.Change = h.Change
			if h != want {
				t.Errorf("got wal-index header %+v, want %+v", h, want)
			}
			checkRebuilt(t, shm, h, frames)
		})
	}
}

// checkRebuilt makes the wal-index anew and compares it byte for byte.
func checkRebuilt(t *testing.T, shm []byte, h IndexHeader, frames []Frame) {
	t.Helper()
	made := make([]byte, len(shm))
	for i, f := range frames {
		n := uint32(i + 1)
		region := made[RegionOf(n)*RegionSize:][:RegionSize]
		HashInsert(region, n, f.Pgno)
		if got := FramePgno(region, n); got != f.Pgno {
			t.Fatalf("frame %d: got page %d, want %d", n, got, f.Pgno)
		}
	}
	h.Encode(made)
	h.Encode(made[IndexHeaderSize:])
	info, err := ParseCkptInfo(shm)
	if err != nil {
		t.Fatal(err)
	}
	info.Encode(made)
	if !bytes.Equal(made, shm) {
		t.Errorf("wal-index of %d frames differs from SQLite's", len(frames))
	}
}

func TestHashFind(t *testing.T) {
	const frames = 3*regionFrames + 100
	regions := make([]byte, RegionSize*(RegionOf(frames)+1))
	last := map[uint32]uint32{}
	for n := uint32(1); n <= frames; n++ {
		pgno := n*n%977 + 1
		last[pgno] = n
		HashInsert(regions[RegionOf(n)*RegionSize:][:RegionSize], n, pgno)
	}
	find := func(pgno, lo, hi uint32) uint32 {
		for i := RegionOf(hi); i >= RegionOf(lo); i-- {
			if n := HashFind(regions[i*RegionSize:][:RegionSize], i, pgno, lo, hi); n != 0 {
				return n
			}
		}
		return 0
	}
	for pgno, want := range last {
		if got := find(pgno, 1, frames); got != want {
			t.Errorf("page %d: got frame %d, want %d", pgno, got, want)
		}
		if got := find(pgno, want, want); got != want {
			t.Errorf("page %d: got frame %d in a range of one, want %d", pgno, got, want)
		}
		if got := find(pgno, want+1, frames); got != 0 {
			t.Errorf("page %d: got frame %d after its last, want none", pgno, got)
		}
	}
}

func TestHashTruncate(t *testing.T) {
	want, got := make([]byte, RegionSize), make([]byte, RegionSize)
	for n := uint32(1); n <= 1000; n++ {
		if n <= 600 {
			HashInsert(want, n, n%50+1)
		}
		HashInsert(got, n, n%50+1)
	}
	HashTruncate(got, 600)
	if !bytes.Equal(got, want) {
		t.Error("a truncated region differs from one that never had the frames")
	}
}

// TestSQLiteReadsOurWAL writes a WAL in both byte orders and lets SQLite recover it.
func TestSQLiteReadsOurWAL(t *testing.T) {
	for _, bigEndian := range []bool{false, true} {
		t.Run(fmt.Sprint(bigEndian), func(t *testing.T) {
			s := newSQLite(t, 1024, "wal")
			s.fill(100)
			path := filepath.Join(t.TempDir(), "copy")
			write(t, path, s.read(""))
			write(t, path+"-wal", rewriteWAL(t, s.read("-wal"), bigEndian))
			db, err := sql.Open("sqlite3", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var n int
			if err := db.QueryRow("SELECT count(*) FROM t").Scan(&n); err != nil || n != 100 {
				t.Errorf("got %d rows (%v), want 100", n, err)
			}
		})
	}
}

func rewriteWAL(t *testing.T, wal []byte, bigEndian bool) []byte {
	t.Helper()
	r, err := OpenWAL(bytes.NewReader(wal))
	if err != nil {
		t.Fatal(err)
	}
	h := WALHeader{BigEndian: bigEndian, PageSize: r.Header().PageSize, CheckpointSeq: 7, Salt: [2]uint32{1, 2}}
	out := make([]byte, WALHeaderSize)
	h.Encode(out)
	sum := h.Cksum
	head := make([]byte, FrameHeaderSize)
	for {
		f, err := r.Next(nil)
		if err == io.EOF {
			return out
		}
		sum = EncodeFrameHeader(head, &h, f, sum, r.Page())
		out = append(append(out, head...), r.Page()...)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWALReaderEnd damages a WAL in each way that ends its chain.
func TestWALReaderEnd(t *testing.T) {
	s := newSQLite(t, 512, "wal")
	s.fill(20)
	wal := s.read("-wal")
	r, frames := readFrames(t, wal)
	h := r.Header()
	at := h.FrameOffset(5) // the frame that is damaged
	for name, damage := range map[string]func(b []byte) []byte{
		"short page":   func(b []byte) []byte { return b[:at+FrameHeaderSize+10] },
		"short header": func(b []byte) []byte { return b[:at+3] },
		"nothing":      func(b []byte) []byte { return b[:at] },
		"page number":  func(b []byte) []byte { b[at+3]++; return b },
		"page":         func(b []byte) []byte { b[at+FrameHeaderSize+9]++; return b },
		"salt":         func(b []byte) []byte { b[at+8]++; return b },
		"checksum":     func(b []byte) []byte { b[at+23]++; return b },
		"size":         func(b []byte) []byte { b[at+7]++; return b },
	} {
		r, got := readFrames(t, damage(bytes.Clone(wal)))
		if len(got) != 4 {
			t.Errorf("%s: got %d frames, want 4", name, len(got))
			continue
		}
		rest := NewWALReader(bytes.NewReader(wal), h, r.Frame(), r.Sum()) // the file has been mended
		for n := 4; n < len(frames); n++ {
			if f, err := rest.Next(nil); err != nil || f != frames[n] {
				t.Fatalf("%s: frame %d: got %+v, %v; want %+v", name, n+1, f, err, frames[n])
			}
		}
	}
}

func TestOpenWALErrors(t *testing.T) {
	s := newSQLite(t, 512, "wal")
	head := s.read("-wal")[:WALHeaderSize]
	for i, want := range map[int]error{0: ErrNotWAL, 5: ErrNotWAL, 9: ErrNotWAL, 11: ErrNotWAL, 13: ErrNotWAL, 17: ErrNotWAL, 27: ErrNotWAL} {
		b := bytes.Clone(head)
		b[i] ^= 0x10
		if _, err := OpenWAL(bytes.NewReader(b)); !errors.Is(err, want) {
			t.Errorf("byte %d damaged: got %v, want %v", i, err, want)
		}
	}
	if _, err := OpenWAL(bytes.NewReader(head[:31])); !errors.Is(err, ErrShort) {
		t.Errorf("got %v, want %v", err, ErrShort)
	}
}

type brokenReader struct{}

var errBroken = errors.New("broken")

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, errBroken }

func TestWALReaderPassesErrorsOn(t *testing.T) {
	if _, err := OpenWAL(brokenReader{}); !errors.Is(err, errBroken) {
		t.Errorf("open: got %v, want %v", err, errBroken)
	}
	r := NewWALReader(brokenReader{}, WALHeader{PageSize: 512}, 0, [2]uint32{})
	if _, err := r.Next(nil); !errors.Is(err, errBroken) {
		t.Errorf("next: got %v, want %v", err, errBroken)
	}
}

func TestWALReaderDoesNotAllocate(t *testing.T) {
	s := newSQLite(t, 4096, "wal")
	s.fill(500)
	r, err := OpenWAL(bytes.NewReader(s.read("-wal")))
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 4096)
	if n := testing.AllocsPerRun(20, func() { r.Next(page) }); n != 0 {
		t.Errorf("got %v allocations a frame, want 0", n)
	}
}

func BenchmarkWALReader(b *testing.B) {
	s := newSQLite(b, 4096, "wal")
	s.fill(5000)
	wal := s.read("-wal")
	b.SetBytes(int64(len(wal)))
	for b.Loop() {
		readFrames(b, wal)
	}
}
