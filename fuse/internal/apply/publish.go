package apply

import (
	"context"
	"fmt"
	"io"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// Pos implements [stream.Replica].
func (d *Database) Pos() (id string, pos stream.Pos) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.log.ID(), d.pos
}

// Sums implements [stream.Replica]. A damaged page has the checksum of what it is.
func (d *Database) Sums() *stream.Sums {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.sums == nil {
		return nil
	}
	sums := d.sums.Clone()
	for pgno, sum := range d.lost {
		sums.Set(pgno, sum)
	}
	return sums
}

// Adopt implements [stream.Replica].
func (d *Database) Adopt(ctx context.Context, l stream.Lineage, via []string) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	defer d.give()
	if err := d.mayFollow(l); err != nil {
		return fmt.Errorf("replica %s: %w", d.path, err)
	}
	if err := d.log.Adopt(l); err != nil {
		return fmt.Errorf("replica %s: %w", d.path, err)
	}
	d.upstream.setVia(via)
	return nil
}

// mayFollow refuses a history that would overwrite what is only here: another database's, one that
// branched off before this database's position, or, where apps wrote here as on a primary, the same
// one, which others can have only from here. The caller holds tailLock.
func (d *Database) mayFollow(l stream.Lineage) error {
	own := d.log.ID()
	switch {
	case !d.exists():
		return nil
	case own == l.ID && d.log.Owned():
		return fmt.Errorf("%w: it was a primary here, and nobody went on as another primary from it since; is the upstream a replica of it?", stream.ErrOtherDatabase)
	case !l.Follows(own, d.pos):
		return fmt.Errorf("%w: the upstream's is %s, the replica's is %s at %s", stream.ErrOtherDatabase, l.ID, own, d.pos)
	}
	return nil
}

// change is a state in the making: frames behind the published ones, and the page checksums that
// they lead to. The caller holds tailLock.
type change struct {
	d       *Database
	sums    *overlay
	version byte
}

func (d *Database) newChange() *change {
	d.tail.drop()
	return &change{d: d, sums: newOverlay(d.sums), version: d.version}
}

// set adds a page.
func (c *change) set(pgno uint32, data []byte) error {
	return c.setSummed(pgno, data, stream.PageSum(pgno, data))
}

// setSummed adds a page with its checksum.
func (c *change) setSummed(pgno uint32, data []byte, sum stream.Checksum) error {
	c.sums.set(pgno, sum)
	if pgno == 1 {
		c.version = data[dbfile.ReadVersionOffset]
	}
	return c.d.tail.add(pgno, data)
}

// add adds a transaction.
func (c *change) add(pages *stream.TxnReader) error {
	for {
		pgno, data, err := pages.Next()
		if err == io.EOF {
			c.sums.resize(pages.Header().Commit)
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.setSummed(pgno, data, pages.CRC().Sum()); err != nil {
			return err
		}
	}
}

// publish makes the change the published state, at pos. The commit frame is not written before the
// checksum is known to be right.
func (c *change) publish(pos stream.Pos) error {
	if got := c.sums.total(); got != pos.PostApplyChecksum {
		return fmt.Errorf("%w: the database would have checksum %s, want %s", stream.ErrPosMismatch, got, pos)
	}
	d := c.d
	size, err := c.ensureFrame()
	if err != nil {
		return err
	}
	if err := d.tail.commit(size); err != nil {
		return err
	}
	from := d.tail.hdr.FrameOffset(d.tail.base + 1)
	if err := d.wrote(d.name+dbfile.SuffixWAL, from, d.tail.off-from); err != nil {
		return err
	}
	if err := d.enterFrames(); err != nil {
		return err
	}
	d.mu.Lock()
	d.hdr.Change++
	d.hdr.MxFrame, d.hdr.Size, d.hdr.FrameCksum = d.tail.n, size, d.tail.sum
	d.index.publish(&d.hdr)
	c.sums.apply()
	d.found(c.sums)
	d.pos, d.version = pos, c.version
	d.mu.Unlock()
	d.tail.resume(d.tail.n, d.tail.sum)
	if err := d.index.err(); err != nil {
		return err
	}
	d.show()
	return nil
}

// enterFrames enters the frames of the tail into the wal-index. Readers take no notice of them
// before mxFrame says so.
func (d *Database) enterFrames() error {
	t := &d.tail
	if err := d.index.grow(dbfile.RegionOf(t.n)); err != nil {
		return err
	}
	d.index.enter(t.base+1, t.pgnos)
	return d.index.err()
}

// startWAL begins the WAL anew with page1 and publishes that as the state of the database. The
// caller holds tailLock, and readers are kept out. Where it fails, the state before is as it was.
func (d *Database) startWAL(page1 []byte, size uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	backfill, hdr := d.index.backfill(), d.tail.hdr
	base, sum := d.tail.base, d.tail.baseSum
	d.index.setBackfill(0) // before the header: with the old value a reader could take the new WAL for backfilled
	d.index.setAttempted(0)
	if err := d.tail.restart(page1, size); err != nil {
		d.index.setBackfill(backfill)
		d.tail.hdr = hdr
		d.tail.resume(base, sum)
		return err
	}
	if err := wrote(d.mount, d.name+dbfile.SuffixWAL, 0, d.tail.off); err != nil {
		d.index.fail(err) // there is no way back to the WAL that was
		return d.index.err()
	}
	d.index.enter(1, []uint32{1})
	d.index.resetMarks()
	d.hdr = dbfile.IndexHeader{Change: d.hdr.Change + 1, PageSize: uint32(len(page1)), MxFrame: 1, Size: size,
		FrameCksum: d.tail.sum, Salt: d.tail.hdr.Salt}
	d.index.publish(&d.hdr)
	d.tail.resume(1, d.tail.sum)
	return d.index.err()
}

// ensureFrame adds a commit frame where the change has no page for one, and returns how many pages
// readers see. Where nothing differs but the size, or not even that, it is page 1 as it is.
func (c *change) ensureFrame() (size uint32, err error) {
	d := c.d
	switch {
	case c.sums.size == 0:
		return 1, d.tail.add(1, emptyPage1(d.hdr.PageSize))
	case len(d.tail.buf) > 0:
		return c.sums.size, nil
	}
	page := make([]byte, d.hdr.PageSize)
	if err := d.readPage(1, page); err != nil {
		return 0, err
	}
	return c.sums.size, d.tail.add(1, page)
}
