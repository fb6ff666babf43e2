package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"weir/fuse/fusetest"
	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// A hot journal restores every page but those that were free: SQLite takes free pages into use without a journal. So a
// rollback of a killed process's transaction may change free pages, and where the processes on the two sides were
// killed at different moments, they differ in them.

// recover has SQLite roll back what a killed process left, and returns what it sees then: nothing where it is locked.
func (s *side) recover(name string) (*stream.Sums, error) {
	if _, err := s.once(name, "sql", "SELECT * FROM sqlite_schema"); err != nil {
		return nil, err
	}
	a, err := s.once(name, "pages", "own")
	if err != nil || a.Err != "" {
		return nil, err
	}
	return a.Pages()
}

// reconcile rolls a hot journal back on both sides, and gives the twin the free pages of the other side.
func (p *pair) reconcile(name string) error {
	plain := filepath.Join(p.plain.dir, name)
	if _, err := os.Stat(plain); err != nil {
		return nil // not made yet
	}
	seen, err := p.mounted.recover(name)
	if err != nil || seen == nil {
		return err
	}
	want, err := p.plain.recover(name)
	if err != nil || want == nil || fusetest.Diff(seen, want) == nil {
		return err
	}
	st, err := readState(plain, p.plain.indexed(name))
	if err != nil {
		return err
	}
	free := st.freeLeaves()
	if seen.Len() != want.Len() || seen.PageSize() != want.PageSize() {
		return fmt.Errorf("after a kill: %w", fusetest.Diff(seen, want))
	}
	var pages []uint32
	for pgno := uint32(1); pgno <= want.Len(); pgno++ {
		if seen.Page(pgno) == want.Page(pgno) {
			continue
		}
		if !slices.Contains(free, pgno) {
			return fmt.Errorf("after a kill page %d of %d is another one, and it is not free", pgno, want.Len())
		}
		pages = append(pages, pgno)
	}
	return copyPages(plain, filepath.Join(p.mounted.dir, name), int64(st.pageSize), pages)
}

// copyPages copies pages from a database on the mount, which this process must not touch.
func copyPages(to, from string, pageSize int64, pages []uint32) error {
	tmp := to + "-pages"
	defer os.Remove(tmp)
	if out, err := fusetest.Command("cp", from, tmp).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	src, err := os.Open(tmp)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	page := make([]byte, pageSize)
	for _, pgno := range pages {
		at := int64(pgno-1) * pageSize
		if _, err = src.ReadAt(page, at); err == nil {
			_, err = dst.WriteAt(page, at)
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, dst.Close())
}

// Offsets of the list of free pages, https://sqlite.org/fileformat2.html#the_freelist
const (
	firstTrunkAt = 32 // in the database header
	nextTrunkAt  = 0  // in a trunk page
	leavesAt     = 4  // their number, and then they
)

// freeLeaves returns the free pages that hold nothing.
func (s *state) freeLeaves() (leaves []uint32) {
	if s.size == 0 {
		return nil
	}
	trunk := binary.BigEndian.Uint32(s.pages[1][firstTrunkAt:])
	for range s.size {
		page := s.pages[trunk]
		if page == nil {
			break
		}
		n := binary.BigEndian.Uint32(page[leavesAt:])
		for i := range min(n, s.pageSize/4-2) {
			leaves = append(leaves, binary.BigEndian.Uint32(page[leavesAt+4+4*i:]))
		}
		trunk = binary.BigEndian.Uint32(page[nextTrunkAt:])
	}
	return leaves
}

// rolledBack returns the state that the twin will have when SQLite has rolled a hot journal back, tried on a copy.
func (p *pair) rolledBack(name string) (*state, error) {
	dir, err := os.MkdirTemp("", "rolled-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for _, suffix := range []string{"", dbfile.SuffixJournal} {
		if err := copyFile(filepath.Join(dir, name+suffix), filepath.Join(p.plain.dir, name+suffix)); err != nil {
			return nil, err
		}
	}
	s := side{dir: dir}
	if _, err := s.recover(name); err != nil {
		return nil, err
	}
	return readState(filepath.Join(dir, name), false)
}
