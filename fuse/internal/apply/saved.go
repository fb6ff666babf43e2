package apply

import (
	"bufio"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// sumsName is the file in the state directory with the page checksums of the last clean Close.
const sumsName = "replica-sums"

// loadSums sets sums to the checksums of the pages in the file: those saved, or else those read.
func (d *Database) loadSums(page1 []byte, size uint32) (err error) {
	saved, current, err := d.savedSums()
	if err != nil {
		if err := d.setAside(filepath.Join(state.Path(d.name), sumsName), err); err != nil {
			return err
		}
	}
	if current && saved.PageSize() == uint32(len(page1)) && saved.Len() == size {
		d.sums = saved
		return nil
	}
	if d.sums, err = state.ReadSums(d.file, uint32(len(page1)), size); err != nil {
		return err
	}
	d.nameChanged(saved, d.sums, page1)
	return nil
}

// savedSums reads the checksums of the last clean Close, nil where there are none; current tells whether the file is as
// it was then.
func (d *Database) savedSums() (sums *stream.Sums, current bool, err error) {
	f, err := d.state.Open(sumsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var was state.FileID
	if err := state.ReadHead(r, &was); err != nil {
		return nil, false, err
	}
	if sums, err = stream.ReadSums(r, math.MaxUint32); err != nil {
		return nil, false, err
	}
	is, err := state.Identify(d.file)
	return sums, is == was, err
}

// saveSums writes the checksums for the next Open. The database file is complete and without a WAL.
func (d *Database) saveSums() error {
	id, err := state.IdentifySettled(d.file)
	if err != nil {
		return err
	}
	f, err := d.state.Create(sumsName + ".tmp")
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = state.WriteHead(w, id)
	if err == nil {
		_, err = d.sums.WriteTo(w)
	}
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.state.Rename(sumsName+".tmp", sumsName)
}

// settleTime is how long settle waits for readers.
const settleTime = 250 * time.Millisecond

// settle makes the database a file of its own, the same as upstream, if no reader is left. Nothing
// else runs any more.
func (d *Database) settle() error {
	if !d.exists() {
		return nil
	}
	unlock := func() {}
	if d.mount != nil {
		var ok bool
		var err error
		if unlock, ok, err = d.lockReaders(0, time.Now().Add(settleTime)); err != nil || !ok {
			return err
		}
	}
	defer unlock()
	if err := d.syncLogAndWAL(); err != nil {
		return err
	}
	if err := d.copyFrames(d.index.backfill(), d.hdr.MxFrame, d.hdr.Size); err != nil {
		return err
	}
	if _, err := d.file.WriteAt([]byte{d.version, d.version}, dbfile.WriteVersionOffset); err != nil {
		return err
	}
	if err := d.settleFile(d.hdr); err != nil {
		return err
	}
	d.index.setBackfill(d.hdr.MxFrame)
	if err := d.tail.resize(0); err != nil {
		return err
	}
	if err := errors.Join(d.root.Remove(d.name+dbfile.SuffixWAL), d.root.Remove(d.name+dbfile.SuffixSHM)); err != nil {
		return err
	}
	return d.saveSums()
}
