package capture

import (
	"bufio"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// sumsFile holds the page checksums of the last clean Close.
const sumsFile = "sums"

// saved heads sumsFile: the state that the checksums belong to, and the files
// as they were.
type saved struct {
	Pos string
	// Database and WAL are the files when they were saved.
	Database, WAL state.FileID
	// Frame is how far the WAL with this Salt was captured.
	Frame uint32
	Salt  [2]uint32
}

func (d *Database) identify(how func(*os.File) (state.FileID, error)) (db, wal state.FileID, err error) {
	if db, err = how(d.db); err != nil {
		return db, wal, err
	}
	wal, err = how(d.wal.file)
	return db, wal, err
}

// save writes sumsFile anew.
func (d *Database) save() error {
	if !d.dirty.empty() {
		return nil
	}
	db, wal, err := d.identify(state.IdentifySettled)
	if err != nil {
		return err
	}
	s := saved{Pos: d.log.Last().String(), Database: db, WAL: wal, Frame: d.wal.frame, Salt: d.wal.hdr.Salt}
	f, err := d.state.Create(sumsFile + ".tmp")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = state.WriteHead(w, s)
	if err == nil {
		_, err = d.sums.WriteTo(w)
	}
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.state.Rename(sumsFile+".tmp", sumsFile)
}

// load reads sumsFile; sums is nil where there is none that can be used.
func (d *Database) load() (s saved, sums *stream.Sums, err error) {
	f, err := d.state.Open(sumsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil, nil
	}
	if err != nil {
		return s, nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if err = state.ReadHead(r, &s); err == nil {
		sums, err = stream.ReadSums(r, math.MaxUint32)
	}
	if err == nil && (s.Pos != d.log.Last().String() || sums.Total() != d.log.Last().PostApplyChecksum) {
		return s, nil, nil
	}
	if err != nil {
		to, asideErr := state.SetAside(d.root, d.name, filepath.Join(state.Path(d.name), sumsFile))
		if asideErr != nil {
			return saved{}, nil, asideErr
		}
		d.logger.Warn("page checksums of the last stop are damaged; they are set aside, and the database is read instead", "db", d.path, "file", sumsFile, "damage", err, "under", to)
		return saved{}, nil, nil
	}
	return s, sums, nil
}

// frameIn is the last captured frame of the WAL with header hdr, 0 where the
// stop left another.
func (s saved) frameIn(hdr dbfile.WALHeader) uint32 {
	if s.Salt != hdr.Salt {
		return 0
	}
	return s.Frame
}
