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
	for _, pgno := range pages {
		buf := s.buf[len(read)*int(s.pageSize):][:s.pageSize]
		switch state, err := s.readPage(pgno, buf); {
		case err != nil:
			return nil, nil, err
		case state == pageBusy:
			busy = append(busy, pgno)
		case state == pageRead:
			read = append(read, pgno)
		}
	}
	return read, busy, nil
}

// pageState is what has become of a page of a snapshot.
type pageState int

const (
	pageUnneeded pageState = iota
	pageBusy               // it is being written
	pageRead
)

// snapshotTries is how often a page is read again that a checkpoint may have
// written unseen.
const snapshotTries = 10

// readPage reads a page and compares it with its checksum.
func (s *snapshot) readPage(pgno uint32, buf []byte) (pageState, error) {
	d := s.d
	for try := 1; ; try++ {
		if d.sums.PageSize() != s.pageSize {
			return pageUnneeded, ErrPageSizeChanged
		}
		if s.unchanged(pgno) {
			return pageUnneeded, nil
		}
		if d.dirty.has(pgno) {
			return pageBusy, nil
		}
		if err := d.readPage(pgno, buf); err != nil {
			return pageUnneeded, err
		}
		sum := stream.PageSum(pgno, buf)
		if sum == d.sums.Page(pgno) {
			return pageRead, nil
		}
		if !d.passes() || try == snapshotTries {
			return pageUnneeded, fmt.Errorf("snapshot of %s at %s: %w: page %d has checksum %s, want %s", d.path, d.log.Last(), stream.ErrDamaged, pgno, sum, d.sums.Page(pgno))
		}
		if err := d.lookUnseen(); err != nil {
			return pageUnneeded, err
		}
	}
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
