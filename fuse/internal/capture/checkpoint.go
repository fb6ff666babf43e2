package capture

import (
	"io"

	"weir/fuse/internal/dbfile"
)

// endCheckpoint runs op, the truncation of the database with which SQLite ends
// a checkpoint of the whole WAL. After it SQLite may overwrite the WAL, so pages
// are no longer read from there.
func (d *Database) endCheckpoint(op func() error) error {
	if err := op(); err != nil {
		return err
	}
	if d.intercepted {
		return nil // WriteWAL sees when the frames are no longer needed
	}
	c, ok, err := d.committedNow()
	if err != nil || !ok {
		return err
	}
	for pgno, frame := range d.wal.index {
		if frame <= c.attempted || c.unnamed {
			delete(d.wal.index, pgno)
		}
	}
	return nil
}

// WriteWAL writes p to the WAL through w. SQLite begins a WAL anew by its
// header, when all frames are in the database; then they are captured first.
func (d *Database) WriteWAL(w io.WriterAt, p []byte, off int64) (int, error) {
	n, err := d.writeWAL(w, p, off)
	d.Look()
	return n, err
}

func (d *Database) writeWAL(w io.WriterAt, p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off >= dbfile.WALHeaderSize {
		d.wal.cut(off)
		return w.WriteAt(p, off)
	}
	if _, err := d.captureWAL(); err != nil {
		d.note(err)
		return 0, err
	}
	n, err := w.WriteAt(p, off)
	d.wal.forget()
	return n, err
}
