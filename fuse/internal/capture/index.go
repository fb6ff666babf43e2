package capture

import (
	"errors"
	"io"
	"io/fs"
	"math"

	"weir/fuse/internal/dbfile"
)

// committed is what the wal-index says is committed.
type committed struct {
	mxFrame uint32
	salt    [2]uint32
	// unnamed says that there is no wal-index: frames that verify are committed.
	unnamed bool
	// attempted is the frame up to which the last checkpoint copied, or tried to.
	attempted uint32
}

// indexTries is how often a wal-index header that a writer is just changing is
// read again; the change takes nanoseconds.
const indexTries = 100

// committedNow reads the wal-index header; ok is false where a recovery is at
// work on it.
func (d *Database) committedNow() (c committed, ok bool, err error) {
	if d.shmUsers > 0 && !d.intercepted {
		if err := d.needIndex(); err != nil {
			return c, false, err
		}
	}
	if d.shmUsers == 0 || d.shm == nil || d.intercepted {
		return committed{mxFrame: math.MaxUint32, unnamed: true}, true, nil
	}
	var b [2*dbfile.IndexHeaderSize + dbfile.CkptInfoSize]byte
	for range indexTries {
		if _, err := d.shm.ReadAt(b[:], 0); err != nil {
			return c, false, ignoreEOF(err)
		}
		h, err := dbfile.ParseIndexHeader(b[:])
		if err == nil {
			info, err := dbfile.ParseCkptInfo(b[:])
			return committed{mxFrame: h.MxFrame, salt: h.Salt, attempted: info.NBackfillAttempted}, err == nil, err
		}
		if !errors.Is(err, dbfile.ErrIndexTorn) {
			break
		}
	}
	return c, false, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// needIndex opens the wal-index, if that is not done and there is one.
func (d *Database) needIndex() error {
	if d.shm != nil || d.shmGone {
		return nil
	}
	f, err := d.root.Open(d.name + dbfile.RoleSHM.Suffix())
	if errors.Is(err, fs.ErrNotExist) {
		d.shmGone = true
		return nil
	}
	d.shm = f
	return err
}

// forgetIndex says that there may be another wal-index now, or none.
func (d *Database) forgetIndex() (err error) {
	if d.shm != nil {
		err = d.shm.Close()
	}
	d.shm, d.shmGone = nil, false
	return err
}
