package apply

import (
	"fmt"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/scrub"
	"weir/stream"
)

// scrub reads pages from a page on and compares them with their checksums; see [scrub.Run]. What is not what was written
// is lost: Heard and Sums have it come from the upstream again.
func (d *Database) scrub(from uint32) (next uint32) {
	for read := 0; read < scrub.StepBytes; from++ {
		n, damage := d.scrubPage(from)
		if n == 0 {
			return 0
		}
		if damage != nil && d.lose(from) {
			d.logger.Error("a page of the database is damaged; it is asked for again", "db", d.path, "file", d.name, "page", from, "damage", damage)
		}
		read += n
	}
	return from
}

// scrubPage compares a page; it returns 0 where there is none.
func (d *Database) scrubPage(pgno uint32) (read int, damage error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.exists() || d.sums == nil || d.pos == (stream.Pos{}) || pgno > d.sums.Len() {
		return 0, nil
	}
	_, damage = d.check(pgno)
	return int(d.hdr.PageSize), damage
}

// check reads a page and compares it; it returns the checksum that it has, 0 where it cannot be read. The caller holds mu.
func (d *Database) check(pgno uint32) (got stream.Checksum, damage error) {
	if pgno == dbfile.LockPgno(d.hdr.PageSize) {
		return 0, nil
	}
	page := make([]byte, d.hdr.PageSize)
	if err := d.readPage(pgno, page); err != nil {
		return 0, err
	}
	if pgno == 1 {
		setVersion(page, d.version)
	}
	got = stream.PageSum(pgno, page)
	if want := d.sums.Page(pgno); got != want {
		return got, fmt.Errorf("it has checksum %s, want %s", got, want)
	}
	return got, nil
}

// lose notes that a page is damaged, unless it is not so any more; it returns whether that is news.
func (d *Database) lose(pgno uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.lost[pgno]; known || pgno > d.sums.Len() {
		return false
	}
	got, damage := d.check(pgno)
	if damage == nil {
		return false
	}
	if d.lost == nil {
		d.lost = make(map[uint32]stream.Checksum)
	}
	d.lost[pgno] = got
	return true
}

// isLost tells whether a page is known to be damaged. The caller does not hold mu.
func (d *Database) isLost(pgno uint32) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.lost[pgno]
	return ok
}

// found forgets that pages were damaged that o has anew, or that are no more. The caller holds mu.
func (d *Database) found(o *overlay) {
	for pgno := range d.lost {
		if _, ok := o.pages[pgno]; ok || pgno > o.size {
			delete(d.lost, pgno)
		}
	}
}
