package fuse

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"weir/fuse/internal/state"
	"weir/stream"
)

// Of a database that is gone weir keeps the log as long as it keeps transactions: it may be restored from that, and another
// one of its name goes on with its history, so that replicas which were away follow. Then all that weir has of it is
// removed but what was set aside, which is nowhere else.

// sweepEvery is how often that is looked for, and how long weir runs before the first time. Tests set it.
var sweepEvery = time.Hour

// keptFor is for how long all is kept after a database went or, where that was without weir, after weir last wrote something
// of it. Tests set it.
var keptFor = stream.DefaultMaxAge

// identityName is the file that each database has among weir's own, as long as there are others.
const identityName = "id"

// sweep removes what weir has of databases that are gone, and of which nothing was written since a time.
func (d *directory) sweep(before time.Time) {
	for _, name := range d.known() {
		if err := d.sweepOne(name, before); err != nil {
			d.logger.Error("what is left of a database that is gone can't be removed", "db", d.pathOf(name), "err", err)
		}
	}
}

// known lists the databases of patterns of which weir has something, whether they are there or not.
func (d *directory) known() (names []string) {
	fs.WalkDir(d.root.FS(), state.Dir, func(at string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // it may be going now
		case e.IsDir() && strings.HasSuffix(at, asideSuffix):
			return fs.SkipDir
		case e.Type().IsRegular() && path.Base(at) == identityName:
			if name := state.Name(path.Dir(at)); d.pattern(name) != nil {
				names = append(names, name)
			}
		}
		return nil
	})
	return names
}

func (d *directory) sweepOne(name string, before time.Time) error {
	d.moving.Lock() // none comes meanwhile
	defer d.moving.Unlock()
	if _, err := d.root.Lstat(name); d.captured(name) != nil || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	own := state.Path(name)
	files, newest, err := d.ownFiles(own)
	if err != nil || !newest.Before(before) {
		return err
	}
	for _, file := range append(files, identityName) { // last: without it, the log would be another database's
		if err := d.root.Remove(filepath.Join(own, file)); err != nil {
			return err
		}
	}
	for dir := own; dir != state.Dir && d.root.Remove(dir) == nil; {
		dir = filepath.Dir(dir)
	}
	d.logger.Info("a database is gone for so long that its log is removed", "db", d.pathOf(name))
	return nil
}

// ownFiles lists what weir has of one database, without its identity and what was set aside, and when that was last written.
func (d *directory) ownFiles(own string) (files []string, newest time.Time, err error) {
	entries, err := fs.ReadDir(d.root.FS(), own)
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), asideSuffix) {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			return nil, newest, err
		}
		if fi.ModTime().After(newest) {
			newest = fi.ModTime()
		}
		if e.Name() != identityName {
			files = append(files, e.Name())
		}
	}
	return files, newest, err
}
