package capture

import (
	"io"

	"weir/stream"
)

// dirtySet is the pages written since the last commit or rollback, while the
// database is not in WAL mode.
type dirtySet struct {
	pages map[uint32]struct{}
	// packed is those that were not written since they were packed.
	packed map[uint32]*stream.Packed
	// all says that the page size was not known, or the whole file replaced.
	all bool
	// resized says that the file's size was set.
	resized bool
	// journal is the journal under which the pages were written; zero where
	// they were written without one (cp, journal_mode=OFF or MEMORY).
	journal journalID

	// copiers are the handles that wrote without a journal and without SQLite's
	// locks, as cp does, and have neither synced nor closed the file since. nil
	// is who set the file's size, by a handle that is not known.
	copiers map[io.WriterAt]struct{}
	// last is the handle of the last write without a journal.
	last io.WriterAt
}

func (s *dirtySet) empty() bool { return len(s.pages) == 0 && !s.all && !s.resized }

// add notes a write of n bytes at off.
func (s *dirtySet) add(off, n int64, pageSize uint32) {
	if pageSize == 0 {
		s.all = true
		return
	}
	if s.pages == nil {
		s.pages = make(map[uint32]struct{})
	}
	for at := off / int64(pageSize); at*int64(pageSize) < off+n; at++ {
		s.pages[uint32(at)+1] = struct{}{}
		delete(s.packed, uint32(at)+1)
	}
}

// pack notes what the log will have of a page, unless it is written again.
func (s *dirtySet) pack(pgno uint32, page []byte, by *stream.Packer) {
	p := new(stream.Packed)
	if by.Pack(pgno, page, p) != nil {
		return // the commit says why
	}
	if s.packed == nil {
		s.packed = make(map[uint32]*stream.Packed)
	}
	s.packed[pgno] = p
}
