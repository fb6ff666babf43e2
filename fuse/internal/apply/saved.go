package apply

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// sumsName is the file in the state directory with the page checksums of the last clean Close.
const sumsName = "replica-sums"

// loadSums sets sums to the checksums of the pages in the file: those saved, or else those read.
func (d *Database) loadSums(page1 []byte, size uint32) (err error) {
	if d.sums, err = d.savedSums(); err != nil {
		d.logger.Warn("saved page checksums cannot be used, reading the database instead", "db", d.path, "err", err)
	}
	if d.sums == nil || d.sums.PageSize() != uint32(len(page1)) || d.sums.Len() != size {
		d.sums, err = readSums(d.file, uint32(len(page1)), size)
		return err
	}
	return nil
}

// savedSums reads the checksums of the last clean Close; nil where there are none for the file as it is.
func (d *Database) savedSums() (*stream.Sums, error) {
	f, err := d.state.Open(sumsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var was state.FileID
	if err := state.ReadHead(r, &was); err != nil {
		return nil, err
	}
	if is, err := state.Identify(d.file); err != nil || is != was {
		return nil, err
	}
	return stream.ReadSums(r, math.MaxUint32)
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

// readSums reads all pages of a database file.
func readSums(f *os.File, pageSize, size uint32) (*stream.Sums, error) {
	sums := stream.NewSums(pageSize)
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, int64(size)*int64(pageSize)), 1<<20)
	page := make([]byte, pageSize)
	for pgno := uint32(1); pgno <= size; pgno++ {
		n, err := io.ReadFull(r, page)
		if err = ignoreShort(err); err != nil {
			return nil, err
		}
		clear(page[n:])
		sums.Set(pgno, stream.PageSum(pgno, page))
	}
	return sums, nil
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
	if err := d.tail.file.Truncate(0); err != nil {
		return err
	}
	if err := errors.Join(d.root.Remove(d.name+dbfile.SuffixWAL), d.root.Remove(d.name+dbfile.SuffixSHM)); err != nil {
		return err
	}
	return d.saveSums()
}
