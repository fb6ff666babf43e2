package fuse

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// member is a database of a pattern's, on a primary. It is captured from the moment at which a file of its name is
// there, empty or a database, and served once that has a page. When the file is gone it is not served any more; should
// another one come, its history goes on.
type member struct {
	db     *capture.Database
	there  bool // the file is
	served bool
	awaits bool      // a goroutine waits for its first page
	gone   time.Time // when the file went
}

// follows tells whether databases come and go that are captured here.
func (d *directory) follows() bool { return len(d.patterns) > 0 && !d.readOnly }

// scan opens the databases that are there when weir starts.
func (d *directory) scan(mounted []string) error {
	if !d.follows() {
		return nil
	}
	names, err := d.find(func(name string) bool { return d.captured(name) == nil && d.isDatabase(name) })
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.rollBack(d.pathOf(name), name, mounted); err != nil {
			return err
		}
		if err := d.join(name); err != nil {
			return err
		}
	}
	return nil
}

// isDatabase tells whether there is a database called name, or an empty file, which is one without pages.
func (d *directory) isDatabase(name string) bool {
	fi, err := d.root.Lstat(name)
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	if fi.Size() == 0 {
		return true
	}
	f, err := d.root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [dbfile.HeaderSize]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return false
	}
	_, err = dbfile.ParseHeader(b[:])
	return err == nil
}

// join has the file called name be captured from here on, if it is a database of a pattern's. The caller holds moving: nobody
// writes to the file meanwhile. It may be called while an app's request is served: it opens nothing in the mount.
func (d *directory) join(name string) error {
	if !d.follows() || d.pattern(name) == nil || !d.isDatabase(name) {
		return nil
	}
	if db := d.captured(name); db != nil && !d.isThere(name) {
		if err := db.Replaced(func() error { return nil }); err != nil {
			return err
		}
	}
	if err := d.expect(name); err != nil {
		return err
	}
	d.note(name)
	return nil
}

// expect opens the database called name, whether there is a file or not. Nothing happens if it is open. The caller holds
// moving.
func (d *directory) expect(name string) error {
	if d.captured(name) != nil {
		return nil
	}
	db, err := d.openPrimary(d.pathOf(name), name)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.members[name] = &member{db: db, gone: time.Now()}
	return nil
}

// isThere tells whether a captured database has a file, as far as is known. One that does not come and go has.
func (d *directory) isThere(name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.members[name]
	return m == nil || m.there
}

// comesAndGoes tells whether a captured database is one of a pattern's.
func (d *directory) comesAndGoes(name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.members[name] != nil
}

// note looks whether the file of a member is there.
func (d *directory) note(name string) {
	fi, err := d.root.Lstat(name)
	there := err == nil && fi.Mode().IsRegular()
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.members[name]
	if m == nil || m.there == there {
		return
	}
	m.there, m.gone = there, time.Now()
	d.changedMembers()
	if there {
		d.logger.Info("a database has come", "db", d.pathOf(name))
	} else {
		d.logger.Info("a database is gone", "db", d.pathOf(name))
	}
}

// pathOf is the path of what is called name below the directory.
func (d *directory) pathOf(name string) string { return filepath.Join(d.path, name) }

// changedMembers wakes announce.
func (d *directory) changedMembers() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// membersBelow tells whether the files of members are in the directory called name.
func (d *directory) membersBelow(name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for of, m := range d.members {
		if rest, err := filepath.Rel(name, of); err == nil && filepath.IsLocal(rest) && m.there {
			return true
		}
	}
	return false
}

// announce serves the members that are there, and no others, until ctx ends. Then those that are served stay so: the end
// of weir is not that of a database.
func (d *directory) announce(ctx context.Context, s *stream.Server) {
	look, sweep := time.NewTicker(goneFor), time.NewTicker(sweepEvery)
	defer look.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-d.wake:
			d.serveMembers(ctx, s)
		case <-look.C:
			d.closeGone(time.Now().Add(-goneFor))
		case <-sweep.C:
			d.sweep(time.Now().Add(-keptFor))
		case <-ctx.Done():
			return
		}
	}
}

// goneFor is how long a member is kept open whose file is gone: another one often comes at once. Tests set it.
var goneFor = time.Minute

// closeGone closes the members that went before a time. Who has a file of theirs open still may do with it what he likes:
// without a database nothing is captured.
func (d *directory) closeGone(before time.Time) {
	d.moving.Lock() // none comes meanwhile
	defer d.moving.Unlock()
	for name, m := range d.goneBefore(before) {
		d.mu.Lock()
		lock := d.locks[name]
		delete(d.members, name)
		delete(d.captures, name)
		delete(d.locks, name)
		d.mu.Unlock()
		err := errors.Join(lock.Close(), m.db.Close(), d.root.Chtimes(filepath.Join(state.Path(name), identityName), m.gone, m.gone)) // for sweep
		if err != nil {
			d.logger.Error("a database that is gone was not closed as it should be", "db", d.pathOf(name), "err", err)
		}
	}
}

func (d *directory) goneBefore(before time.Time) map[string]member {
	d.mu.RLock()
	defer d.mu.RUnlock()
	gone := make(map[string]member)
	for name, m := range d.members {
		if !m.there && !m.served && m.gone.Before(before) {
			gone[name] = *m
		}
	}
	return gone
}

// serveMembers brings what s serves to what is there.
func (d *directory) serveMembers(ctx context.Context, s *stream.Server) {
	for name, m := range d.unannounced() {
		path := d.pathOf(name)
		switch {
		case !m.there:
			s.Remove(path)
			d.announced(name, false)
		case m.db.Status().Size > 0:
			s.Add(path, &servedPrimary{m.db, d, name})
			d.announced(name, true)
		case !m.awaits:
			d.awaitPage(ctx, name, m.db)
		}
	}
}

// unannounced is the members of which s does not serve what is there.
func (d *directory) unannounced() map[string]member {
	d.mu.RLock()
	defer d.mu.RUnlock()
	some := make(map[string]member)
	for name, m := range d.members {
		if m.there != m.served {
			some[name] = *m
		}
	}
	return some
}

func (d *directory) announced(name string, served bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.members[name]; m != nil {
		m.served = served
	}
}

// awaitPage wakes announce after the next transaction of a member that has no page.
func (d *directory) awaitPage(ctx context.Context, name string, db *capture.Database) {
	d.setAwaits(name, true)
	d.waiting.Go(func() {
		// It may have come since the last look.
		for next := db.Log().Published().TXID + 1; db.Status().Size == 0; next++ {
			if err := db.Log().Wait(ctx, next); err != nil {
				return
			}
		}
		d.setAwaits(name, false)
		d.changedMembers()
	})
}

func (d *directory) setAwaits(name string, awaits bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.members[name]; m != nil {
		m.awaits = awaits
	}
}
