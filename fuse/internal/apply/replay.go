package apply

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// replay copies into the database what its WAL commits, up to the last transaction that the log
// has, and makes that durable. After a power failure the WAL may have more than the log: what is
// left out comes again. Where no state is in the log, all of the WAL is copied: who wrote it, meant
// it. A WAL beside an empty file is a stray one, to SQLite too.
func (d *Database) replay() error {
	page1, size, err := d.examine()
	if err != nil || page1 == nil {
		return err
	}
	r, err := dbfile.OpenWAL(d.tail.file)
	if errors.Is(err, dbfile.ErrShort) || errors.Is(err, dbfile.ErrNotWAL) {
		return nil
	}
	if err != nil {
		return err
	}
	commits, err := readCommits(r)
	if err != nil || len(commits) == 0 {
		return err
	}
	n := len(commits)
	if int(r.Header().PageSize) == len(page1) {
		if n, err = d.locateCommit(r.Header(), page1, size, commits); err != nil {
			return err
		}
	}
	if n < len(commits) {
		d.logger.Warn("the WAL has transactions that the log has not; they will come again", "db", d.path, "transactions", len(commits)-n)
	}
	return d.copyCommits(r.Header(), commits[:n])
}

// walCommit is a committed transaction of a WAL.
type walCommit struct {
	frames []walFrame
	size   uint32 // pages
}

type walFrame struct {
	n, pgno uint32
	sum     stream.Checksum
}

func readCommits(r *dbfile.WALReader) (commits []walCommit, err error) {
	var c walCommit
	for {
		f, err := r.Next(nil)
		if err == io.EOF {
			return commits, nil
		}
		if err != nil {
			return nil, err
		}
		c.frames = append(c.frames, walFrame{r.Frame(), f.Pgno, stream.PageSum(f.Pgno, r.Page())})
		if f.Commit() {
			c.size = f.Size
			commits = append(commits, c)
			c = walCommit{}
		}
	}
}

// copyCommits copies the last image of each page into the database.
func (d *Database) copyCommits(h dbfile.WALHeader, commits []walCommit) error {
	if len(commits) == 0 {
		return nil
	}
	frames := make(map[uint32]uint32) // by page
	for _, c := range commits {
		for _, f := range c.frames {
			frames[f.pgno] = f.n
		}
	}
	size, page := commits[len(commits)-1].size, make([]byte, h.PageSize)
	for _, pgno := range slices.Sorted(maps.Keys(frames)) {
		if pgno > size {
			break
		}
		if err := readFull(d.tail.file, page, h.FrameOffset(frames[pgno])+dbfile.FrameHeaderSize); err != nil {
			return err
		}
		if _, err := d.file.WriteAt(page, int64(pgno-1)*int64(h.PageSize)); err != nil {
			return err
		}
	}
	if err := d.file.Truncate(int64(size) * int64(h.PageSize)); err != nil {
		return fmt.Errorf("give the database its size: %w", err)
	}
	return d.file.Sync()
}
