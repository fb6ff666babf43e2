package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/superfly/ltx"
)

func TestPageSum(t *testing.T) {
	r := newRand(t)
	for _, size := range []int{512, 4096, 65536} {
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		pgno := r.Uint32()
		if got, want := PageSum(pgno, p), ltx.ChecksumPage(pgno, p); got != want {
			t.Errorf("page size %d: got %s, want %s", size, got, want)
		}
		if n := testing.AllocsPerRun(10, func() { PageSum(pgno, p) }); n != 0 {
			t.Errorf("page size %d: got %v allocations, want none", size, n)
		}
	}
}

func TestSums(t *testing.T) {
	s := NewSums(512)
	if s.Total() != ltx.ChecksumFlag || s.Len() != 0 || s.Page(1) != 0 {
		t.Errorf("empty: got %s, %d pages, page 1 %s", s.Total(), s.Len(), s.Page(1))
	}
	r := newRand(t)
	want := make(map[uint32]Checksum)
	for range 1000 {
		pgno := 1 + uint32(r.IntN(100))
		if r.IntN(10) == 0 {
			s.Truncate(pgno)
			for p := range want {
				if p > pgno {
					delete(want, p)
				}
			}
			continue
		}
		want[pgno] = ltx.ChecksumFlag | Checksum(r.Uint64())
		s.Set(pgno, want[pgno])
	}
	c := s.Clone()
	s.Set(1, ltx.ChecksumFlag)
	s.Truncate(3)
	total := ltx.ChecksumFlag
	for pgno := range uint32(100) {
		if got := c.Page(pgno + 1); got != want[pgno+1] {
			t.Errorf("page %d: got %s, want %s", pgno+1, got, want[pgno+1])
		}
		total = ltx.ChecksumFlag | (total ^ want[pgno+1])
	}
	if c.Total() != total {
		t.Errorf("got total %s, want %s", c.Total(), total)
	}
}

// The lock page has no checksum.
func TestSumsLockPage(t *testing.T) {
	s := NewSums(65536)
	lock := ltx.LockPgno(65536)
	s.Set(lock, ltx.ChecksumFlag|9)
	if s.Len() != 0 || s.Total() != ltx.ChecksumFlag {
		t.Errorf("got %d pages with total %s, want none", s.Len(), s.Total())
	}
	s.Set(lock+1, ltx.ChecksumFlag|5)
	if s.Page(lock) != 0 || s.Len() != lock+1 || s.Total() != ltx.ChecksumFlag|5 {
		t.Errorf("got lock page %s, %d pages, total %s", s.Page(lock), s.Len(), s.Total())
	}
}

func randomSums(r *rand.Rand, n int) *Sums {
	s := NewSums(4096)
	for i := range n {
		s.Set(uint32(i+1), ltx.ChecksumFlag|Checksum(r.Uint64()))
	}
	return s
}

func encodeSums(t testing.TB, s *Sums) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) || n != s.encodedLen() {
		t.Fatalf("WriteTo: got %d, %v for %d bytes, want %d", n, err, b.Len(), s.encodedLen())
	}
	return b.Bytes()
}

func TestSumsEncoding(t *testing.T) {
	r := newRand(t)
	for _, n := range []int{0, 1, 2, sumsChunk - 1, sumsChunk, sumsChunk + 1, 3 * sumsChunk} {
		want := randomSums(r, n)
		b := encodeSums(t, want)
		if err := iotest.TestReader(&sumsReader{s: want}, b); err != nil {
			t.Errorf("%d pages: %v", n, err)
		}
		rest := strings.NewReader(string(b) + "rest")
		got, err := ReadSums(iotest.OneByteReader(rest), uint32(n))
		if err != nil {
			t.Fatalf("%d pages: %v", n, err)
		}
		if got.PageSize() != 4096 || got.Total() != want.Total() || !slices.Equal(got.pages, want.pages) || rest.Len() != 4 {
			t.Errorf("%d pages: got %d with total %s, want total %s", n, got.Len(), got.Total(), want.Total())
		}
		for i := 0; i < len(b); i += 1 + len(b)/50 {
			if _, err := ReadSums(bytes.NewReader(b[:i]), 1<<20); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d pages cut at %d: got %v, want unexpected EOF", n, i, err)
			}
			flipped := bytes.Clone(b)
			flipped[i] ^= 0x10
			if _, err := ReadSums(bytes.NewReader(flipped), 1<<20); err == nil {
				t.Errorf("%d pages with byte %d changed: no error", n, i)
			}
		}
	}
	b := encodeSums(t, randomSums(r, 10))
	if _, err := ReadSums(bytes.NewReader(b), 9); !errors.Is(err, ErrCorrupt) {
		t.Errorf("over the limit: got %v, want ErrCorrupt", err)
	}
	s, err := readSums(bytes.NewReader(b), 10, 4)
	if err != nil || s.Len() != 4 {
		t.Errorf("keep 4: got %d pages, %v", s.Len(), err)
	}
	if s, err := ReadSums(bytes.NewReader(encodeSums(t, NewSums(0))), 0); err != nil || s.PageSize() != 0 {
		t.Errorf("without page size: got %v", err)
	}
}

// A header that claims many pages takes no memory for them.
func TestReadSumsClaims(t *testing.T) {
	b := binary.BigEndian.AppendUint32([]byte(sumsMagic), sumsVersion)
	b = binary.BigEndian.AppendUint32(b, 4096)
	b = binary.BigEndian.AppendUint32(b, 1<<31)
	n := allocated(func() { ReadSums(bytes.NewReader(b), 1<<31) })
	if n > 1<<18 {
		t.Errorf("got %d bytes allocated", n)
	}
}

// allocated returns how many bytes f allocates, about.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzReadSums(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 20} {
		f.Add(encodeSums(f, randomSums(r, n)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadSums(bytes.NewReader(b), 1<<20)
		if err != nil {
			return
		}
		if got := encodeSums(t, s); !bytes.Equal(got, b[:len(got)]) {
			t.Errorf("got %x again, want %x", got, b)
		}
	})
}

// encodeTxn encodes a transaction as this package does.
func encodeTxn(t testing.TB, h ltx.Header, post Checksum, pages map[uint32][]byte) []byte {
	t.Helper()
	return encodeTxnAs(t, false, h, post, pages)
}

func encodeTxnAs(t testing.TB, stored bool, h ltx.Header, post Checksum, pages map[uint32][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	e := new(encoder)
	err := e.begin(&b, h)
	e.packer.stored = stored
	for pgno := uint32(1); err == nil && pgno <= h.Commit; pgno++ {
		if p := pages[pgno]; p != nil {
			err = e.page(pgno, p, CRCOfPage(pgno, p))
		}
	}
	if err == nil {
		err = e.close(post)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encodeLTX encodes it as ltx does.
func encodeLTX(t testing.TB, h ltx.Header, post Checksum, pages map[uint32][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	e, err := ltx.NewEncoder(&b)
	if err == nil {
		err = e.EncodeHeader(h)
	}
	for pgno := uint32(1); err == nil && pgno <= h.Commit; pgno++ {
		if p := pages[pgno]; p != nil {
			err = e.EncodePage(ltx.PageHeader{Pgno: pgno}, p)
		}
	}
	e.SetPostApplyChecksum(post)
	if err == nil {
		err = e.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decodeTxn(b []byte) (h ltx.Header, post Pos, pages map[uint32][]byte, err error) {
	r, err := NewTxnReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return h, post, nil, err
	}
	pages = make(map[uint32][]byte)
	for {
		pgno, data, err := r.Next()
		if err == io.EOF {
			return r.Header(), r.Post(), pages, nil
		} else if err != nil {
			return h, post, nil, err
		}
		pages[pgno] = bytes.Clone(data)
	}
}

// sampleTxn is a transaction that replaces some pages of a database.
func sampleTxn(r *rand.Rand) (h ltx.Header, post Checksum, pages map[uint32][]byte) {
	pages = map[uint32][]byte{2: randomPage(r), 3: make([]byte, testPageSize), 300: randomPage(r)}
	return ltx.Header{
		Version: ltx.Version, PageSize: testPageSize, Commit: 300, MinTXID: 7, MaxTXID: 7, Timestamp: 1700000000000,
		PreApplyChecksum: ltx.ChecksumFlag | 1, WALOffset: 32, WALSize: 1608, WALSalt1: 5, WALSalt2: 6,
	}, ltx.ChecksumFlag | 2, pages
}

// What is encoded here is what ltx encodes, byte for byte, and both decode it.
func TestTxnIsLTX(t *testing.T) {
	r := newRand(t)
	h, post, pages := sampleTxn(r)
	noise := make([]byte, testPageSize)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	pages[9] = noise // does not compress
	b := encodeTxn(t, h, post, pages)
	if want := encodeLTX(t, h, post, pages); !bytes.Equal(b, want) {
		t.Errorf("got %d bytes, ltx has %d others", len(b), len(want))
	}
	gotH, gotPost, gotPages, err := decodeTxn(b)
	if err != nil {
		t.Fatal(err)
	}
	if gotH != h || gotPost != ltx.NewPos(7, post) || len(gotPages) != len(pages) {
		t.Errorf("got %+v, %s and %d pages", gotH, gotPost, len(gotPages))
	}
	for pgno, p := range pages {
		if !bytes.Equal(gotPages[pgno], p) {
			t.Errorf("page %d differs", pgno)
		}
	}
}

// What is stored uncompressed is LTX, too, with pages of all sizes.
func TestStoredTxnIsLTX(t *testing.T) {
	for size := uint32(512); size <= 65536; size *= 2 {
		page := make([]byte, size)
		for i := range page[:size/2] {
			page[i] = byte(i * i)
		}
		h := ltx.Header{Version: ltx.Version, PageSize: size, Commit: 300, MinTXID: 7, MaxTXID: 7, PreApplyChecksum: ltx.ChecksumFlag | 1}
		b := encodeTxnAs(t, true, h, ltx.ChecksumFlag|2, map[uint32][]byte{5: page})
		if len(b) < int(size) {
			t.Errorf("a page of %d bytes is stored in %d", size, len(b))
		}
		if _, _, pages, err := decodeTxn(b); err != nil || !bytes.Equal(pages[5], page) {
			t.Errorf("page of %d bytes: read by us: %v, or another page", size, err)
		}
		got := make([]byte, size)
		d := ltx.NewDecoder(bytes.NewReader(b))
		err := d.DecodeHeader()
		if err == nil {
			err = d.DecodePage(new(ltx.PageHeader), got)
		}
		if err != nil || !bytes.Equal(got, page) {
			t.Errorf("page of %d bytes: read by ltx: %v, or another page", size, err)
		}
	}
}

func TestTxnWithoutPages(t *testing.T) {
	h := ltx.Header{Version: ltx.Version, PageSize: 512, MinTXID: 2, MaxTXID: 2, PreApplyChecksum: ltx.ChecksumFlag | 9}
	b := encodeTxn(t, h, ltx.ChecksumFlag, nil)
	if len(b) != txnMinSize {
		t.Errorf("got %d bytes, want %d", len(b), txnMinSize)
	}
	if _, post, _, err := decodeTxn(b); err != nil || post != ltx.NewPos(2, ltx.ChecksumFlag) {
		t.Errorf("got %s, %v", post, err)
	}
}

// Every cut and every flipped bit of a transaction is an error.
func TestTxnDamage(t *testing.T) {
	b := encodeTxn3(t)
	for i := range b {
		if _, _, _, err := decodeTxn(b[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: got %v, want ErrCorrupt", i, err)
		}
		r, err := NewTxnReader(bytes.NewReader(b[:i]), int64(len(b))) // as from a broken connection
		for err == nil {
			_, _, err = r.Next()
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("connection cut at %d: got %v, want unexpected EOF", i, err)
		}
		for bit := range 8 {
			flipped := bytes.Clone(b)
			flipped[i] ^= 1 << bit
			if _, _, _, err := decodeTxn(flipped); err == nil && !equalPages(t, b, flipped) {
				t.Errorf("bit %d of byte %d flipped: no error", bit, i)
			}
		}
	}
	if _, _, _, err := decodeTxn(append(b, 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: got %v, want ErrCorrupt", err)
	}
}

func encodeTxn3(t testing.TB) []byte {
	h, post, pages := sampleTxn(rand.New(rand.NewPCG(3, 4)))
	return encodeTxn(t, h, post, pages)
}

// equalPages tells whether two encodings mean the same: an LZ4 block can be
// written in several ways, and LTX sums what it unpacks to.
func equalPages(t testing.TB, a, b []byte) bool {
	_, postA, pagesA, errA := decodeTxn(a)
	_, postB, pagesB, errB := decodeTxn(b)
	same := errA == nil && errB == nil && postA == postB && len(pagesA) == len(pagesB)
	for pgno, p := range pagesA {
		same = same && bytes.Equal(p, pagesB[pgno])
	}
	return same
}

// A size off the wire does not decide how much is allocated.
func TestTxnHostileSize(t *testing.T) {
	b := encodeTxn3(t)
	binary.BigEndian.PutUint32(b[ltx.HeaderSize+ltx.PageHeaderSize:], 1<<31)
	var err error
	n := allocated(func() {
		var r *TxnReader
		if r, err = NewTxnReader(bytes.NewReader(b), 1<<40); err == nil {
			_, _, err = r.Next()
		}
	})
	if !errors.Is(err, ErrCorrupt) || n > 1<<18 {
		t.Errorf("got %v and %d bytes allocated", err, n)
	}
}

func FuzzTxnReader(f *testing.F) {
	f.Add(encodeTxn3(f))
	f.Add(encodeTxn(f, ltx.Header{Version: ltx.Version, PageSize: 512, MinTXID: 2, MaxTXID: 2, PreApplyChecksum: ltx.ChecksumFlag}, ltx.ChecksumFlag, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, post, pages, err := decodeTxn(b)
		if err != nil {
			return
		}
		if err := ltx.NewDecoder(bytes.NewReader(b)).Verify(); err != nil {
			t.Errorf("ltx: %v", err)
		}
		if again := encodeTxn(t, h, post.PostApplyChecksum, pages); !equalPages(t, again, b) {
			t.Error("differs when encoded again")
		}
	})
}

// FuzzRecords reads any bytes as a stream.
func FuzzRecords(f *testing.F) {
	id := strings.Repeat("0", idLen)
	page := bytes.Repeat([]byte("page"), 128)
	f.Add(appendRecord(nil, recordHello, hello{pages: true, SnapshotHeader: SnapshotHeader{PageSize: 512, Size: 1}, Lineage: Lineage{id, []Ancestor{{id, testFork}}}, via: []string{id, id}}.append(nil)))
	f.Add(appendRecord(nil, recordBeat, make([]byte, beatSize)))
	f.Add(appendRecord(nil, recordDone, make([]byte, posSize)))
	f.Add(appendRecord(nil, recordPage, []byte{0, 0, 0, 1}, page))
	f.Add(appendRecord(nil, recordPage, []byte{0, 0, 0, 1}, packPage(&new(Packer).lz, page, make([]byte, 512))))
	f.Add(appendRecord(nil, recordTxn, encodeTxn3(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := recordReader{r: bytes.NewReader(b)}
		for {
			typ, n, err := r.next()
			if err != nil {
				if _, _, again := r.next(); again != err {
					t.Errorf("error %v became %v", err, again)
				}
				return
			}
			readPayload(&r, typ, n)
		}
	})
}

// readPayload reads a record as a session does.
func readPayload(r *recordReader, typ recordType, n int64) {
	if typ == recordTxn {
		t, err := NewTxnReader(r, n)
		for err == nil {
			_, _, err = t.Next()
		}
		return
	}
	b, err := r.payload(make([]byte, maxPayload(typ)), n)
	if err != nil {
		return
	}
	switch typ {
	case recordHello:
		parseHello(b)
	case recordPage:
		parsePage(b, make([]byte, 512))
	case recordDone:
		parseDone(b)
	case recordBeat:
		parseBeat(b)
	}
}

func TestRecordReader(t *testing.T) {
	b := appendRecord(nil, recordDone, make([]byte, posSize))
	b = appendRecord(b, recordBeat, make([]byte, 5), make([]byte, beatSize-5))
	for i := range len(b) + 1 {
		r := recordReader{r: iotest.OneByteReader(bytes.NewReader(b[:i]))}
		n := 0
		var err error
		for err == nil {
			var typ recordType
			var length int64
			if typ, length, err = r.next(); err == nil {
				if _, err = r.payload(make([]byte, maxPayload(typ)), length); err == nil {
					n++
				}
			}
		}
		first := posSize + recordOverhead
		want, wantErr := i/first, io.ErrUnexpectedEOF
		if i == len(b) {
			want = 2
		} else {
			want = min(want, 1)
		}
		if i == 0 || i == first || i == len(b) {
			wantErr = io.EOF
		}
		if n != want || err != wantErr {
			t.Errorf("cut at %d: got %d records and %v, want %d and %v", i, n, err, want, wantErr)
		}
	}
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 0x40
		r := recordReader{r: bytes.NewReader(flipped)}
		var err error
		for err == nil {
			var typ recordType
			var length int64
			if typ, length, err = r.next(); err == nil {
				_, err = r.payload(make([]byte, maxPayload(typ)), length)
			}
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d changed: got %v, want ErrCorrupt", i, err)
		}
	}
}

// FuzzSegment opens any bytes as a segment.
func FuzzSegment(f *testing.F) {
	b := encodeSegmentHeader(strings.Repeat("a", idLen), Pos{})
	f.Add(b)
	h := ltx.Header{Version: ltx.Version, PageSize: 512, MinTXID: 1, MaxTXID: 1}
	b = appendRecord(b, recordTxn, encodeTxn(f, h, ltx.ChecksumFlag, nil))
	f.Add(b)
	h.MinTXID, h.MaxTXID, h.PreApplyChecksum = 2, 2, ltx.ChecksumFlag
	b = appendRecord(b, recordTxn, encodeTxn(f, h, ltx.ChecksumFlag, nil))
	f.Add(b)
	f.Add(b[:len(b)-9])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := scanSegment(bytes.NewReader(b), int64(len(b)))
		if s == nil {
			if err == nil {
				t.Error("neither segment nor error")
			}
			return
		}
		if s.size > int64(len(b)) || err == nil && s.size != int64(len(b)) {
			t.Errorf("segment of %d bytes in %d (%v)", s.size, len(b), err)
		}
		again, err := scanSegment(bytes.NewReader(b[:s.size]), s.size)
		if err != nil || again.last() != s.last() || len(again.records) != len(s.records) {
			t.Errorf("the sound part does not scan again: %v", err)
		}
	})
}

func TestPagePacking(t *testing.T) {
	r := newRand(t)
	for _, size := range []int{512, 4096, 65536} {
		for _, noise := range []int{0, size / 2, size} {
			page := make([]byte, size)
			for i := range noise {
				page[i] = byte(r.Uint32())
			}
			packed := packPage(&new(Packer).lz, page, make([]byte, size))
			if noise < size && len(packed) >= size {
				t.Errorf("page of %d with %d bytes of noise: not packed", size, noise)
			}
			got := make([]byte, size)
			pgno, err := parsePage(append([]byte{0, 0, 1, 0}, packed...), got)
			if err != nil || pgno != 256 || !bytes.Equal(got, page) {
				t.Errorf("page of %d with %d bytes of noise: got page %d, %v", size, noise, pgno, err)
			}
		}
	}
}
