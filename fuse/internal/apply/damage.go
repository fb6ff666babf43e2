package apply

import (
	"errors"
	"fmt"
	"slices"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// setAside keeps a file of the replica's that cannot be used under another name, and says why.
func (d *Database) setAside(file string, why error) error {
	to, err := state.SetAside(d.root, d.name, file)
	if err != nil {
		return fmt.Errorf("set %s aside: %w", file, err)
	}
	d.logger.Warn("a file of the replica is damaged; it is set aside", "db", d.path, "file", file, "damage", why, "under", to)
	return nil
}

// pageSize reads the page size from the database's header, or where that is damaged finds it elsewhere: the pages that are
// right need not come again. Where the WAL has a page 1, the one in the file does not count.
func (d *Database) pageSize(header []byte) (uint32, error) {
	if n, err := d.walPageSize(); n != 0 || err != nil {
		return n, err
	}
	h, err := dbfile.ParseHeader(header)
	if err == nil {
		return h.PageSize, nil
	}
	n := d.loggedPageSize()
	if n == 0 {
		return 0, fmt.Errorf("%w; move the file away", err)
	}
	d.logger.Warn("the database's header is damaged", "db", d.path, "file", d.name, "page", 1, "damage", err, "page-size", n)
	return n, nil
}

// walPageSize is the page size of the WAL, if page 1 is committed in it; else 0.
func (d *Database) walPageSize() (uint32, error) {
	r, err := dbfile.OpenWAL(d.tail.file)
	if errors.Is(err, dbfile.ErrShort) || errors.Is(err, dbfile.ErrNotWAL) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	commits, err := readCommits(r)
	for _, c := range commits {
		if slices.ContainsFunc(c.frames, func(f walFrame) bool { return f.pgno == 1 }) {
			return r.Header().PageSize, err
		}
	}
	return 0, err
}

// loggedPageSize is the page size that the WAL has, or the saved page checksums, or the log; 0 where none of them says.
func (d *Database) loggedPageSize() uint32 {
	if r, err := dbfile.OpenWAL(d.tail.file); err == nil {
		return r.Header().PageSize
	}
	if saved, _, err := d.savedSums(); err == nil && saved != nil && saved.PageSize() != 0 {
		return saved.PageSize()
	}
	_, h, _ := d.log.Find(d.log.Last().PostApplyChecksum)
	return h.PageSize
}

// checkWAL sets the WAL aside where it does not have all that the database is to be made of. What it has was copied.
func (d *Database) checkWAL() error {
	damage, err := d.walDamage()
	if err != nil || damage == nil {
		return err
	}
	if err := d.setAside(d.name+dbfile.SuffixWAL, damage); err != nil {
		return err
	}
	if err := d.tail.file.Close(); err != nil {
		return err
	}
	d.tail.file, err = d.companion(dbfile.SuffixWAL)
	return err
}

// walDamage says what is wrong with the WAL. Bytes behind the last frame that verifies are nothing by themselves: a frame
// half written, or frames of an older WAL. They may be what is missing where the log has more than the database, and where
// there is no frame at all, for a WAL begins with one.
func (d *Database) walDamage() (damage, err error) {
	fi, err := d.tail.file.Stat()
	if err != nil || fi.Size() == 0 {
		return nil, err
	}
	r, err := dbfile.OpenWAL(d.tail.file)
	if errors.Is(err, dbfile.ErrShort) || errors.Is(err, dbfile.ErrNotWAL) {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := readCommits(r); err != nil {
		return nil, err
	}
	h := r.Header()
	if rest := fi.Size() - h.FrameOffset(r.Frame()+1); rest < h.FrameSize() {
		return nil, nil
	}
	if r.Frame() > 0 && d.pos != (stream.Pos{}) && d.pos == d.log.Last() {
		return nil, nil
	}
	return fmt.Errorf("frame %d, at %d, does not follow the one before, and the log has more", r.Frame()+1, h.FrameOffset(r.Frame()+1)), nil
}

// pagesNamed is how many pages a message names one by one.
const pagesNamed = 8

// nameChanged says which pages of the database are not what they were at the last clean Close, given their checksums then
// and now. Checksums that were saved before another run are none of that.
func (d *Database) nameChanged(was, is *stream.Sums, page1 []byte) {
	if was == nil || was.PageSize() != is.PageSize() || was.Total() != d.log.Last().PostApplyChecksum {
		return
	}
	var pages []uint32
	for pgno := uint32(1); pgno <= max(was.Len(), is.Len()); pgno++ {
		if was.Page(pgno) != is.Page(pgno) && !(pgno == 1 && d.isPage1(page1, was.Page(1))) {
			pages = append(pages, pgno)
		}
	}
	if len(pages) > 0 {
		d.logger.Warn("pages of the database are not what they were when weir stopped", "db", d.path, "file", d.name,
			"pages", pages[:min(len(pages), pagesNamed)], "count", len(pages))
	}
}

// isPage1 tells whether page1 has the given checksum but for the file format version, which is this package's to change.
func (d *Database) isPage1(page1 []byte, sum stream.Checksum) bool {
	b := append([]byte(nil), page1...)
	for _, v := range []byte{dbfile.VersionWAL, dbfile.VersionRollback} {
		if setVersion(b, v); stream.PageSum(1, b) == sum {
			return page1[dbfile.ReadVersionOffset] == dbfile.VersionWAL || page1[dbfile.ReadVersionOffset] == v
		}
	}
	return false
}
