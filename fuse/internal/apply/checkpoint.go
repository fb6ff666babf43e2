package apply

import (
	"fmt"
	"os"
	"slices"
	"time"

	"weir/fuse/internal/dbfile"
)

// restartFactor times checkpointFrames is the length of WAL at which it is restarted. A restarted
// WAL keeps its file, as SQLite's do, unless that is trimFactor times as long.
const (
	restartFactor = 4
	trimFactor    = 4
)

// backfillFrames is how many frames are sorted in memory at a time, 8 bytes each.
const backfillFrames = 1 << 16

// Where readers come and go without a gap, those that hold an old read-mark are waited for.
const (
	drainPause = 100 * time.Microsecond // between two looks; in the background it doubles
	drainTime  = time.Second            // in the background; longer readers are left alone
	stallTime  = 10 * time.Millisecond  // with applying held up, for each time the WAL is as long as one to restart
)

// wantCheckpoint wakes the checkpoints where there are frames enough.
func (d *Database) wantCheckpoint() {
	d.mu.RLock()
	n := d.hdr.MxFrame
	d.mu.RUnlock()
	if n-min(n, d.index.backfill()) < d.checkpointFrames {
		return
	}
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// checkpoints runs until Close.
func (d *Database) checkpoints() {
	var last error
	for {
		select {
		case <-d.stopping:
			return
		case <-d.kick:
		}
		err := d.checkpoint()
		if err != nil && (last == nil || last.Error() != err.Error()) {
			d.logger.Error("checkpoint", "db", d.path, "err", err)
		}
		last = err
	}
}

// checkpoint copies frames into the database as far as readers allow, and restarts the WAL if it is
// long and its readers end soon. Applying goes on but for the last frames before a restart, and is
// held up only if what that took in the background says that it will do.
func (d *Database) checkpoint() error {
	start := time.Now()
	done, err := d.backfillDrained()
	if err != nil || !done {
		return err
	}
	stall := d.stall()
	if 2*time.Since(start) > stall {
		return nil
	}
	select {
	case <-d.stopping:
		return nil
	case d.tailLock <- struct{}{}:
	}
	defer d.give()
	d.ckptLock.Lock()
	defer d.ckptLock.Unlock()
	return d.finish(time.Now().Add(stall))
}

// stall is for how long a restart may hold up applying: the longer the WAL, the longer, and 0 where
// none is due.
func (d *Database) stall() time.Duration {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return stallTime * time.Duration(d.hdr.MxFrame/(restartFactor*d.checkpointFrames))
}

// backfillDrained backfills what is published when it begins. It is not done if readers are in the
// way for long.
func (d *Database) backfillDrained() (done bool, err error) {
	d.mu.RLock()
	target := d.hdr.MxFrame
	d.mu.RUnlock()
	end := time.Now().Add(drainTime)
	for pause := drainPause; ; pause *= 2 {
		d.ckptLock.Lock()
		err := d.backfill()
		d.ckptLock.Unlock()
		if err != nil || d.index.backfill() >= target {
			return err == nil, err
		}
		if time.Now().Add(pause).After(end) {
			return false, nil
		}
		select {
		case <-d.stopping:
			return false, nil
		case <-time.After(pause):
		}
	}
}

// finish backfills the last frames and restarts the WAL, unless readers keep it from that until the
// deadline. The caller holds tailLock and ckptLock.
func (d *Database) finish(deadline time.Time) error {
	for {
		if err := d.backfill(); err != nil {
			return err
		}
		if d.index.backfill() == d.hdr.MxFrame {
			return d.restart(deadline)
		}
		if time.Now().After(deadline) {
			return nil
		}
		time.Sleep(drainPause)
	}
}

// restartIfDue restarts a long WAL that is in the database as a whole, as SQLite does before it
// appends. The caller holds tailLock.
func (d *Database) restartIfDue() error {
	if d.stall() == 0 || d.index.backfill() != d.hdr.MxFrame || !d.ckptLock.TryLock() {
		return nil
	}
	defer d.ckptLock.Unlock()
	return d.restart(time.Time{})
}

// backfill copies frames into the database, as far as the read-marks allow. The caller holds ckptLock.
func (d *Database) backfill() error {
	d.mu.RLock()
	hdr, mount, db := d.hdr, d.mount, d.file
	d.mu.RUnlock()
	if mount == nil || db == nil {
		return nil
	}
	safe, err := d.moveMarks(mount, hdr.MxFrame)
	if err != nil || safe <= d.index.backfill() {
		return err
	}
	ok, err := mount.TryLock(dbfile.ReadLock(0)) // readers that use the database without the WAL
	if err != nil || !ok {
		return err
	}
	defer mount.Unlock(dbfile.ReadLock(0))
	d.index.setAttempted(safe)
	if err := d.syncLogAndWAL(); err != nil {
		return err
	}
	for from := d.index.backfill(); from < safe; from = d.index.backfill() {
		to := min(safe, from+backfillFrames)
		if err := d.copyFrames(from, to, hdr.Size); err != nil {
			return err
		}
		if to == hdr.MxFrame {
			if err := d.settleFile(hdr); err != nil {
				return err
			}
		}
		d.index.setBackfill(to)
	}
	return nil
}

// moveMarks offers mxFrame to readers in one read-mark that none holds and withdraws the others
// that none holds. It returns the frame up to which the database may be written: readers that hold
// a mark need the database without the frames after it.
func (d *Database) moveMarks(locks Locks, mxFrame uint32) (safe uint32, err error) {
	safe = mxFrame
	mark := mxFrame
	for i := firstMark; i <= lastMark; i++ {
		ok, err := locks.TryLock(dbfile.ReadLock(i))
		if err != nil {
			return 0, err
		}
		if !ok {
			safe = min(safe, d.index.mark(i))
			continue
		}
		d.index.setMark(i, mark)
		mark = dbfile.ReadMarkNotUsed
		if err := locks.Unlock(dbfile.ReadLock(i)); err != nil {
			return 0, err
		}
	}
	return safe, d.index.err()
}

// syncLogAndWAL makes durable what the database is about to hold: the log, so that its position
// will be found there, and the WAL, so that a half-written database can be completed.
func (d *Database) syncLogAndWAL() error {
	if err := d.log.Sync(); err != nil {
		return err
	}
	return d.sync(d.tail.file, "WAL")
}

// sync makes a file durable. Where that fails the kernel may have dropped what it could not write, and the next sync would
// succeed (fsync(2)): so nothing more is built on it in this run. The next one replays the WAL by its checksums.
func (d *Database) sync(f *os.File, what string) error {
	if err := f.Sync(); err != nil {
		d.index.fail(fmt.Errorf("sync %s: %w", what, err))
	}
	return d.index.err()
}

// copyFrames copies the frames after from up to to into the database, the last of each page, in the
// order of pages.
func (d *Database) copyFrames(from, to, size uint32) error {
	if err := d.growFile(size); err != nil {
		return err
	}
	list := make([]uint64, 0, to-from) // pgno, frame
	for n := from + 1; n <= to; n++ {
		list = append(list, uint64(d.index.pgno(n))<<32|uint64(n))
	}
	slices.Sort(list)
	page := make([]byte, d.tail.hdr.PageSize)
	written := pageRange{size: int64(len(page)), done: func(off, n int64) error { return d.wrote(d.name, off, n) }}
	for i, v := range list {
		pgno := uint32(v >> 32)
		if pgno > size || i+1 < len(list) && uint32(list[i+1]>>32) == pgno {
			continue
		}
		if err := d.tail.readPage(uint32(v), page); err != nil {
			return fmt.Errorf("checkpoint frame %d: %w", uint32(v), err)
		}
		if _, err := d.file.WriteAt(page, int64(pgno-1)*int64(len(page))); err != nil {
			return fmt.Errorf("checkpoint page %d: %w", pgno, err)
		}
		if err := written.add(pgno); err != nil {
			return err
		}
	}
	return written.end()
}

// growFile makes the database long enough for size pages, before one of them is written.
func (d *Database) growFile(size uint32) error {
	n := int64(size) * int64(d.tail.hdr.PageSize)
	fi, err := d.file.Stat()
	if err != nil || fi.Size() >= n {
		return err
	}
	return resize(d.attached(), d.file, d.name, n)
}

// settleFile cuts the database to its size and makes it durable.
func (d *Database) settleFile(hdr dbfile.IndexHeader) error {
	size := int64(hdr.Size) * int64(hdr.PageSize)
	fi, err := d.file.Stat()
	if err != nil {
		return err
	}
	if fi.Size() != size {
		if err := resize(d.attached(), d.file, d.name, size); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	if err := d.sync(d.file, "database"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}
