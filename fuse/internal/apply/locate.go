package apply

import (
	"github.com/superfly/ltx"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// locateCommit returns how many of the WAL's commits lead to the newest state that the log has; all
// where it has none. It sets sums to the state after them. page1 and size are those of the database
// without the WAL.
func (d *Database) locateCommit(h dbfile.WALHeader, page1 []byte, size uint32, commits []walCommit) (int, error) {
	if err := d.loadSums(page1, size); err != nil {
		return 0, err
	}
	state := newOverlay(d.sums)
	behind := []stream.Checksum{state.behind()} // after each number of commits: all pages but the first,
	frames := []uint32{0}                       // and where that one is
	for _, c := range commits {
		frame := frames[len(frames)-1]
		if n := state.commit(c); n != 0 {
			frame = n
		}
		behind, frames = append(behind, state.behind()), append(frames, frame)
	}
	n := len(commits)
	for i := n; i >= 0; i-- {
		if err := d.readPage1(h, frames[i], page1); err != nil {
			return 0, err
		}
		if _, _, ok := d.find(page1, behind[i]); ok {
			n = i
			break
		}
	}
	state = newOverlay(d.sums)
	for _, c := range commits[:n] {
		state.commit(c)
	}
	state.apply()
	return n, nil
}

// commit applies a commit, and returns its frame of page 1, or 0.
func (o *overlay) commit(c walCommit) (page1 uint32) {
	for _, f := range c.frames {
		o.set(f.pgno, f.sum)
		if f.pgno == 1 {
			page1 = f.n
		}
	}
	o.resize(c.size)
	return page1
}

// behind is the checksum of all pages behind page 1.
func (o *overlay) behind() stream.Checksum { return o.xor ^ o.page(1) }

// readPage1 reads page 1 from a frame of the WAL, or from the database where that is 0.
func (d *Database) readPage1(h dbfile.WALHeader, frame uint32, page1 []byte) error {
	if frame == 0 {
		return readFull(d.file, page1, 0)
	}
	return readFull(d.tail.file, page1, h.FrameOffset(frame)+dbfile.FrameHeaderSize)
}

// find looks for a state in the log, given page 1 and the checksum of the pages behind it. Page 1
// may have been in WAL mode upstream or not; version is that with which the newest position was
// found.
func (d *Database) find(page1 []byte, behind stream.Checksum) (pos stream.Pos, version byte, ok bool) {
	was := page1[dbfile.ReadVersionOffset]
	defer setVersion(page1, was)
	for _, v := range []byte{dbfile.VersionWAL, dbfile.VersionRollback} {
		setVersion(page1, v)
		total := ltx.ChecksumFlag | (behind ^ stream.PageSum(1, page1))
		if p, _, found := d.log.Find(total); found && (!ok || p.TXID >= pos.TXID) {
			pos, version, ok = p, v, true
		}
	}
	if last := d.log.Last(); !ok && last.PostApplyChecksum == ltx.ChecksumFlag && behind|ltx.ChecksumFlag == ltx.ChecksumFlag && isEmptyPage1(page1, 1) {
		return last, dbfile.VersionWAL, true
	}
	return pos, version, ok
}

// findPos sets sums, pos and version to those of the database file. Where its state is not in the
// log, the position is not known, and the pages have to be compared with the upstream's.
func (d *Database) findPos(page1 []byte, size uint32) error {
	if d.sums == nil {
		if err := d.loadSums(page1, size); err != nil {
			return err
		}
	}
	var ok bool
	if d.pos, d.version, ok = d.find(page1, newOverlay(d.sums).behind()); !ok {
		d.version = dbfile.VersionWAL
	}
	if ok && d.pos.PostApplyChecksum == ltx.ChecksumFlag {
		d.sums = stream.NewSums(uint32(len(page1)))
		return nil
	}
	setVersion(page1, d.version)
	d.sums.Set(1, stream.PageSum(1, page1))
	return nil
}
