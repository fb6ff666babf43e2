package apply

import (
	"fmt"
	"time"

	"weir/fuse/internal/dbfile"
)

// restart begins the WAL anew, if all of it is in the database and no reader uses it. The caller
// holds tailLock and ckptLock.
func (d *Database) restart(deadline time.Time) error {
	d.tail.drop()
	unlock, ok, err := d.lockReaders(firstMark, deadline)
	if err != nil || !ok {
		return err
	}
	page1 := make([]byte, d.hdr.PageSize)
	err = d.readPage(1, page1)
	if err == nil {
		err = d.startWAL(page1, d.hdr.Size)
	}
	unlock()
	if err != nil {
		return fmt.Errorf("restart WAL: %w", err)
	}
	if err := d.sync(d.tail.file, "WAL"); err != nil {
		return fmt.Errorf("restart WAL: %w", err)
	}
	return d.tail.trim(trimFactor * restartFactor * d.checkpointFrames)
}

// lockReaders locks the read-marks from first on, each as soon as it is free. It is not ok if one
// is still held at the deadline.
func (d *Database) lockReaders(first int, deadline time.Time) (unlock func(), ok bool, err error) {
	locks := d.attached()
	held := first
	unlock = func() {
		for i := first; i < held; i++ {
			locks.Unlock(dbfile.ReadLock(i))
		}
	}
	for held < dbfile.ReadMarks {
		ok, err := locks.TryLock(dbfile.ReadLock(held))
		if err != nil || !ok && time.Now().After(deadline) {
			unlock()
			return nil, false, err
		}
		if ok {
			held++
		} else {
			time.Sleep(drainPause)
		}
	}
	return unlock, true, nil
}
