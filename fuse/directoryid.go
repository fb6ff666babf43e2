package fuse

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"weir/fuse/internal/state"
	"weir/stream"
)

// idDir is where a directory whose databases come and go has its identity; none of them can be called so.
var idDir = filepath.Join(state.Dir, state.Dir)

const idName = "id"

// readID reads the directory's identity, "" where it has none.
func (d *directory) readID() (string, error) {
	b, err := d.root.ReadFile(filepath.Join(idDir, idName))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(bytes.TrimSpace(b)), err
}

// identify gives a primary's directory an identity, unless it has one: its own, or that of the primary whose replica it was.
func (d *directory) identify() (err error) {
	if len(d.patterns) == 0 {
		return nil
	}
	if d.id, err = d.readID(); err != nil || d.id != "" || d.readOnly {
		return err
	}
	return d.adopt(stream.NewID())
}

// adopt makes id the directory's identity.
func (d *directory) adopt(id string) error {
	if err := d.root.MkdirAll(idDir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(idDir, idName)
	f, err := d.root.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(id + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := d.root.Rename(name+".tmp", name); err != nil {
		return err
	}
	d.mu.Lock()
	d.id = id
	d.mu.Unlock()
	return errors.Join(state.SyncParent(d.root, name), state.SyncParent(d.root, idDir))
}
