package capture

import (
	"context"
	"fmt"
	"time"

	"github.com/superfly/ltx"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// change is a set of pages that became the database's together. Those that are
// as they were are left out, and a change of none is no transaction: so it is
// after a rollback, and where SQLite repeats a commit frame up to a sector's end
// (psow=0).
type change struct {
	pageSize uint32   // bytes
	size     uint32   // pages after the commit
	pages    []uint32 // ascending page numbers at most size, without the lock page

	// read fills buf with the committed image of a page.
	read func(pgno uint32, buf []byte) error
	// packed is what read would read, for pages for which that is done.
	packed map[uint32]*stream.Packed

	// still is asked when all images are read, and fails where they do not belong
	// together; nil where nobody can have changed them meanwhile.
	still func() error

	wal walRange // where the change stands in the WAL; zero for a rollback journal

	// hurry says that many more changes wait: the pages are not compressed.
	hurry bool
}

// walRange says which bytes of which WAL held a transaction.
type walRange struct {
	offset, size int64
	salt         [2]uint32
}

// undo restores sums to what they were before a commit that did not come to be.
type undo struct {
	sums  *stream.Sums // the whole table, where the page size changed
	size  uint32
	pages []pageSum
}

type pageSum struct {
	pgno uint32
	sum  stream.Checksum
}

// commit appends c to the log as one transaction and brings sums to it; what
// it returns undoes the latter. It returns nil where c changes nothing. The
// record is not published. The caller holds mu.
func (d *Database) commit(c change) (*undo, error) {
	u := &undo{size: d.sums.Len()}
	if c.pageSize != d.sums.PageSize() {
		u.sums, d.sums = d.sums, stream.NewSums(c.pageSize)
	}
	written, err := d.append(c, u)
	if err != nil {
		d.revert(u)
		return nil, fmt.Errorf("capture %s after %s: %w", d.path, d.log.Last(), err)
	}
	if !written {
		return nil, nil
	}
	if ctx := context.Background(); d.logger.Enabled(ctx, stream.LevelTrace) {
		d.logger.Log(ctx, stream.LevelTrace, "captured", "db", d.path, "pos", d.log.Last(), "pages", len(u.pages), "size", c.size)
	}
	return u, nil
}

// append writes c's record; false where there is nothing to write.
func (d *Database) append(c change, u *undo) (bool, error) {
	var w *stream.TxnWriter
	begin := func() (err error) {
		if w != nil {
			return nil
		}
		if w, err = d.log.Begin(d.header(c)); err == nil && c.hurry {
			w.Store()
		}
		return err
	}
	if c.size != d.sums.Len() || u.sums != nil {
		if err := begin(); err != nil {
			return false, err
		}
	}
	err := d.appendPages(c, u, begin, &w)
	if err == nil && c.still != nil {
		err = c.still()
	}
	if err != nil {
		if w != nil {
			w.Abort()
		}
		return false, err
	}
	if w == nil {
		return false, nil
	}
	d.cut(c.size, u)
	_, err = w.Commit(d.sums.Total())
	return err == nil, err
}

func (d *Database) appendPages(c change, u *undo, begin func() error, w **stream.TxnWriter) error {
	buf := make([]byte, c.pageSize)
	for _, pgno := range c.pages {
		crc, write, err := c.page(pgno, buf)
		if err != nil {
			return err
		}
		if crc.Sum() == d.sums.Page(pgno) {
			continue
		}
		if err := begin(); err != nil {
			return err
		}
		if err := write(*w); err != nil {
			return err
		}
		u.pages = append(u.pages, pageSum{pgno, d.sums.Page(pgno)})
		d.sums.Set(pgno, crc.Sum())
	}
	return nil
}

// page returns the sum of a page's committed image, and what writes that to the
// log. Until then buf is in use.
func (c *change) page(pgno uint32, buf []byte) (stream.PageCRC, func(*stream.TxnWriter) error, error) {
	if p := c.packed[pgno]; p != nil {
		return p.CRC, func(w *stream.TxnWriter) error { return w.WritePacked(p) }, nil
	}
	if err := c.read(pgno, buf); err != nil {
		return 0, nil, fmt.Errorf("page %d: %w", pgno, err)
	}
	crc := stream.CRCOfPage(pgno, buf)
	return crc, func(w *stream.TxnWriter) error { return w.WriteSummed(pgno, buf, crc) }, nil
}

// header is the LTX header of the transaction that follows the log's last.
func (d *Database) header(c change) ltx.Header {
	last := d.log.Last()
	return ltx.Header{
		Version:          ltx.Version,
		PageSize:         c.pageSize,
		Commit:           c.size,
		MinTXID:          last.TXID + 1,
		MaxTXID:          last.TXID + 1,
		Timestamp:        time.Now().UnixMilli(),
		PreApplyChecksum: last.PostApplyChecksum,
		WALOffset:        c.wal.offset,
		WALSize:          c.wal.size,
		WALSalt1:         c.wal.salt[0],
		WALSalt2:         c.wal.salt[1],
	}
}

// cut drops the pages beyond size from sums.
func (d *Database) cut(size uint32, u *undo) {
	for pgno := size + 1; pgno <= d.sums.Len(); pgno++ {
		u.pages = append(u.pages, pageSum{pgno, d.sums.Page(pgno)})
	}
	d.sums.Truncate(size)
}

func (d *Database) revert(u *undo) {
	if u.sums != nil {
		d.sums = u.sums
		return
	}
	for i := len(u.pages) - 1; i >= 0; i-- {
		if p := u.pages[i]; p.pgno <= u.size {
			d.sums.Set(p.pgno, p.sum)
		}
	}
	d.sums.Truncate(u.size)
}

// span is the page numbers from first to last, without the lock page.
func span(first, last, pageSize uint32) []uint32 {
	var pages []uint32
	for pgno := first; pgno <= last; pgno++ {
		if pgno != dbfile.LockPgno(pageSize) {
			pages = append(pages, pgno)
		}
	}
	return pages
}
