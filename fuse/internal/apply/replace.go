package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// replacementName is the name of a staged database, complete and on disk, whose pages are being
// copied over those of the database.
const replacementName = "replacement"

// replacePause is the time between two attempts to find no reader reading.
const replacePause = 2 * time.Millisecond

// replacement is a snapshot with another page size than the database has. Open connections keep the
// file, so it is overwritten in place while no transaction reads it.
type replacement struct{ *stage }

func (t *replacement) commit(ctx context.Context, pos stream.Pos) error {
	if err := t.check(pos); err != nil {
		return err
	}
	d := t.d
	if err := t.file.Sync(); err != nil {
		return err
	}
	d.ckptLock.Lock()
	defer d.ckptLock.Unlock()
	unlock, err := d.waitForReaders(ctx)
	if err != nil {
		return err
	}
	if err := t.overwrite(pos); err != nil {
		return err // what readers would find is not a database, so they stay locked out
	}
	defer unlock()
	if err := d.log.Reset(pos); err != nil {
		return err
	}
	d.show()
	return nil
}

// overwrite puts the stage in the place of the database. From the rename on, Open would finish it.
func (t *replacement) overwrite(pos stream.Pos) error {
	d := t.d
	if err := d.state.Rename(stageName, replacementName); err != nil {
		return err
	}
	if err := state.SyncDir(d.state); err != nil {
		return err
	}
	d.mu.Lock()
	err := t.copyTo(d)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if err := d.wrote(d.name, 0, int64(t.size())*int64(t.sums.PageSize())); err != nil {
		return err
	}
	if err := d.startWAL(t.page1, t.size()); err != nil {
		return err
	}
	d.mu.Lock()
	d.sums, d.pos, d.version, d.lost = t.sums, pos, t.version, nil
	d.mu.Unlock()
	if err := errors.Join(d.tail.file.Sync(), d.state.Remove(replacementName), t.file.Close()); err != nil {
		return err
	}
	return nil
}

// copyTo writes the stage over the database. The caller holds mu.
func (t *replacement) copyTo(d *Database) error {
	size := int64(t.size()) * int64(t.sums.PageSize())
	if err := resize(d.mount, d.file, d.name, size); err != nil {
		return err
	}
	if _, err := io.Copy(io.NewOffsetWriter(d.file, 0), io.NewSectionReader(t.file, 0, size)); err != nil {
		return err
	}
	return d.file.Sync()
}

// waitForReaders waits until no reader reads, and keeps them out.
func (d *Database) waitForReaders(ctx context.Context) (unlock func(), err error) {
	if d.attached() == nil {
		return func() {}, nil
	}
	for {
		unlock, ok, err := d.lockReaders(0, time.Now().Add(replacePause))
		if ok || err != nil {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-d.stopping:
			return nil, stream.ErrClosed
		case <-time.After(replacePause):
		}
	}
}

// finishReplacement completes what a crash interrupted. The WAL belongs to the database that is replaced.
func (d *Database) finishReplacement() error {
	if _, err := d.state.Stat(replacementName); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f, err := d.state.Open(replacementName)
	if err != nil {
		return err
	}
	if err := errors.Join(d.own(f), f.Close()); err != nil {
		return err
	}
	wal := d.name + dbfile.SuffixWAL
	if err := d.root.Remove(wal); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := state.SyncParent(d.root, d.name); err != nil {
		return err
	}
	if err := d.root.Rename(filepath.Join(state.Path(d.name), replacementName), d.name); err != nil {
		return fmt.Errorf("finish replacement: %w", err)
	}
	return state.SyncParent(d.root, d.name)
}
