package apply

import (
	"context"
	"errors"
	"fmt"

	"github.com/superfly/ltx"

	"weir/stream"
)

// errChanged ends a snapshot of a database that was replaced meanwhile.
var errChanged = errors.New("the database was replaced meanwhile; ask again")

// Snapshot implements [stream.Database]. Each page is read as it is published at that moment; the
// transactions applied meanwhile are in the log.
func (d *Database) Snapshot(ctx context.Context, have *stream.Sums, begin func(stream.SnapshotHeader) error, page func(pgno uint32, data []byte) error) (stream.Pos, error) {
	h, sums, err := d.beginServe()
	if err != nil {
		return stream.Pos{}, fmt.Errorf("snapshot of %s: %w", d.path, err)
	}
	if err := begin(h); err != nil {
		return stream.Pos{}, err
	}
	if have != nil && have.PageSize() != h.PageSize {
		have = nil
	}
	buf := make([]byte, h.PageSize)
	for pgno := uint32(1); pgno <= h.Size; pgno++ {
		if pgno == ltx.LockPgno(h.PageSize) || have != nil && have.Page(pgno) == sums.Page(pgno) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return stream.Pos{}, err
		}
		ok, err := d.servePage(pgno, buf)
		if err != nil {
			return stream.Pos{}, fmt.Errorf("snapshot of %s: page %d: %w", d.path, pgno, err)
		}
		if !ok {
			continue
		}
		if err := page(pgno, buf); err != nil {
			return stream.Pos{}, err
		}
	}
	_, until := d.Pos()
	return until, nil
}

func (d *Database) beginServe() (h stream.SnapshotHeader, sums *stream.Sums, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.pos == (stream.Pos{}) || !d.exists() {
		return h, nil, errors.New("this replica has no database yet")
	}
	return stream.SnapshotHeader{Pos: d.pos, PageSize: d.hdr.PageSize, Size: d.sums.Len()}, d.sums.Clone(), nil
}

// servePage reads a page as the upstream has it; ok is false if the database has become too small for it.
func (d *Database) servePage(pgno uint32, page []byte) (ok bool, err error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.hdr.PageSize != uint32(len(page)) {
		return false, errChanged
	}
	if pgno > d.sums.Len() {
		return false, nil
	}
	if err := d.readPage(pgno, page); err != nil {
		return false, err
	}
	if pgno == 1 {
		setVersion(page, d.version)
	}
	if got, want := stream.PageSum(pgno, page), d.sums.Page(pgno); got != want {
		return false, fmt.Errorf("%w: it has checksum %s, want %s", stream.ErrDamaged, got, want)
	}
	return true, nil
}
