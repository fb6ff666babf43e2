package oracle

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"weir/fuse/fusetest"
	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// state is a database's committed state.
type state struct {
	pageSize uint32
	size     uint32 // pages
	pages    map[uint32][]byte
	sums     *stream.Sums
}

// errUnsettled says that the database file does not hold a committed state now: a hot journal goes with it.
var errUnsettled = errors.New("a hot journal")

// readState reads the committed state of the database at path, while nobody writes. indexed says that a process has the
// wal-index mapped, so that it counts; without it the WAL alone does, as for SQLite's recovery.
func readState(path string, indexed bool) (*state, error) {
	if hot, err := hotJournal(path + dbfile.SuffixJournal); err != nil {
		return nil, err
	} else if hot {
		return nil, errUnsettled
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	wal, err := readFile(path + dbfile.SuffixWAL)
	if err != nil {
		return nil, err
	}
	s := &state{pages: make(map[uint32][]byte)}
	if err := s.readDatabase(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	mx, size := ^uint32(0), uint32(0)
	if indexed && len(wal) > 0 {
		if mx, size, err = committedBy(path + dbfile.SuffixSHM); err != nil {
			return nil, err
		}
	}
	if err := s.overlay(wal, mx, size); err != nil {
		return nil, fmt.Errorf("%s%s: %w", path, dbfile.SuffixWAL, err)
	}
	s.sum()
	return s, nil
}

func readFile(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// hotJournal tells whether a journal may be needed to read the database: its header is complete.
func hotJournal(path string) (bool, error) {
	data, err := readFile(path)
	if err != nil || dbfile.JournalEnded(data) {
		return false, err
	}
	h, err := dbfile.ParseJournalHeader(data)
	if err != nil {
		return false, nil // SQLite would not take it either
	}
	return h.Synced, nil
}

func (s *state) readDatabase(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	h, err := dbfile.ParseHeader(data)
	if err != nil {
		return err
	}
	inFile := uint32(len(data) / int(h.PageSize))
	if s.pageSize, s.size = h.PageSize, inFile; h.SizeValid() && h.Size != 0 {
		s.size = h.Size // the file is cut later
	}
	for pgno := range inFile {
		s.pages[pgno+1] = data[int(pgno)*int(s.pageSize):][:s.pageSize]
	}
	return nil
}

// committedBy reads mxFrame and the database's size from a wal-index.
func committedBy(path string) (mxFrame, size uint32, err error) {
	data, err := readFile(path)
	if err != nil || len(data) == 0 {
		return 0, 0, err
	}
	h, err := dbfile.ParseIndexHeader(data)
	if errors.Is(err, dbfile.ErrIndexInvalid) {
		return 0, 0, nil // nobody has read it yet
	}
	return h.MxFrame, h.Size, err
}

// overlay puts the frames up to mx, or all that end with a commit, over the database's pages.
func (s *state) overlay(wal []byte, mx, size uint32) error {
	r, err := dbfile.OpenWAL(bytes.NewReader(wal))
	if errors.Is(err, dbfile.ErrShort) || errors.Is(err, dbfile.ErrNotWAL) || mx == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	over, last := make(map[uint32][]byte), uint32(0)
	for r.Frame() < mx {
		page := make([]byte, r.Header().PageSize)
		f, err := r.Next(page)
		if err != nil && mx == ^uint32(0) {
			break
		}
		if err != nil {
			return fmt.Errorf("frame %d of %d: %w", r.Frame()+1, mx, err)
		}
		over[f.Pgno] = page
		if f.Commit() {
			s.commit(r, over, f.Size)
			last = r.Frame()
		}
	}
	if mx != ^uint32(0) && (s.size != size || last != mx) {
		return fmt.Errorf("the wal-index has %d frames and %d pages, the WAL %d and %d", mx, size, last, s.size)
	}
	return nil
}

// commit takes the frames up to a commit frame over, and empties over.
func (s *state) commit(r *dbfile.WALReader, over map[uint32][]byte, size uint32) {
	s.pageSize, s.size = r.Header().PageSize, size
	for pgno, page := range over {
		s.pages[pgno] = page
	}
	clear(over)
}

// sum drops pages beyond the end, adds those that were never written, and sums all.
func (s *state) sum() {
	for pgno := range s.pages {
		if pgno > s.size {
			delete(s.pages, pgno)
		}
	}
	s.sums = stream.NewSums(s.pageSize)
	for pgno := uint32(1); pgno <= s.size; pgno++ {
		if s.pages[pgno] == nil {
			s.pages[pgno] = make([]byte, s.pageSize)
		}
		s.sums.Set(pgno, stream.PageSum(pgno, s.pages[pgno]))
	}
}

// seen are the checksums of the pages as a reader of the replica sees them.
func (s *state) seen() *stream.Sums {
	seen := s.sums.Clone()
	if s.size > 0 {
		seen.Set(1, fusetest.Versionless(s.pages[1]))
	}
	return seen
}

func firstDiff(a, b []byte) int {
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}
