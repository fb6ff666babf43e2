package capture

import (
	"context"
	"errors"
	"fmt"

	"weir/stream"
)

// ErrPageSizeChanged ends a snapshot during which the database got another
// page size; the follower begins anew.
var ErrPageSizeChanged = errors.New("the page size changed during the snapshot")

// pagesAtOnce is how many pages a snapshot reads under the mutex at a time.
const pagesAtOnce = 16

// Snapshot implements [stream.Database]. It takes no SQLite lock: pages are
// read between the app's commits, each compared with its checksum. A page
// under an unfinished rollback-journal write is left for after it.
func (d *Database) Snapshot(ctx context.Context, have *stream.Sums, begin func(stream.SnapshotHeader) error, page func(pgno uint32, data []byte) error) (stream.Pos, error) {
	d.mu.Lock()
	h := stream.SnapshotHeader{Pos: d.log.Published(), PageSize: d.sums.PageSize(), Size: d.sums.Len()}
	d.mu.Unlock()
	if err := begin(h); err != nil {
		return stream.Pos{}, err
	}
	s := snapshot{d: d, have: have, pageSize: h.PageSize, buf: make([]byte, min(pagesAtOnce, int(h.Size))*int(h.PageSize))}
	todo := span(1, h.Size, h.PageSize)
	for len(todo) > 0 {
		var err error
		if todo, err = s.pass(ctx, todo, page); err != nil {
			return stream.Pos{}, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Published(), nil
}

// snapshot is one snapshot in progress.
type snapshot struct {
	d        *Database
	have     *stream.Sums
	pageSize uint32
	buf      []byte
}

// pass emits the pages of todo, and returns those that were being written and
// are to be tried again; it waits until that is worth while.
func (s *snapshot) pass(ctx context.Context, todo []uint32, page func(uint32, []byte) error) (again []uint32, err error) {
	for len(todo) > 0 {
		n := min(len(todo), pagesAtOnce)
		read, busy, err := s.read(todo[:n])
		if err != nil {
			return nil, err
		}
		for i, pgno := range read {
			if err := page(pgno, s.buf[i*int(s.pageSize):][:s.pageSize]); err != nil {
				return nil, err
			}
		}
		again = append(again, busy...)
		todo = todo[n:]
	}
	if len(again) > 0 {
		err = s.waitIdle(ctx)
	}
	return again, err
}

// read reads the pages that differ into buf, one after another.
func (s *snapshot) read(pages []uint32) (read, busy []uint32, err error) {
	d := s.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sums.PageSize() != s.pageSize {
		return nil, nil, ErrPageSizeChanged
	}
	for _, pgno := range pages {
		if s.unchanged(pgno) {
			continue
		}
		if d.dirty.has(pgno) {
			busy = append(busy, pgno)
			continue
		}
		buf := s.buf[len(read)*int(s.pageSize):][:s.pageSize]
		if err := d.readPage(pgno, buf); err != nil {
			return nil, nil, err
		}
		if sum := stream.PageSum(pgno, buf); sum != d.sums.Page(pgno) {
			return nil, nil, fmt.Errorf("snapshot of %s at %s: %w: page %d has checksum %s, want %s", d.path, d.log.Last(), stream.ErrDamaged, pgno, sum, d.sums.Page(pgno))
		}
		read = append(read, pgno)
	}
	return read, busy, nil
}

// unchanged tells whether the follower has the page already, or needs it no more.
func (s *snapshot) unchanged(pgno uint32) bool {
	return pgno > s.d.sums.Len() || s.have != nil && s.have.PageSize() == s.pageSize && s.have.Page(pgno) == s.d.sums.Page(pgno)
}

func (s *dirtySet) has(pgno uint32) bool {
	_, ok := s.pages[pgno]
	return ok || s.all || s.resized
}

// waitIdle waits until no rollback-journal write is in progress.
func (s *snapshot) waitIdle(ctx context.Context) error {
	s.d.mu.Lock()
	idle := s.d.idle
	if s.d.dirty.empty() {
		idle = nil
	}
	s.d.mu.Unlock()
	if idle == nil {
		return ctx.Err()
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
