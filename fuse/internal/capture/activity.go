package capture

import (
	"errors"
	"io/fs"
	"time"
)

// activity is how much is written to the WAL while apps have the database open. One
// that is written much is passed through when it is opened next: its checkpoints
// become cheaper, and reads dearer as long as nothing has been written since
// (SQLite asks for the file's size then, before each).
type activity struct {
	since  time.Time // when the first app opened the database
	frames int       // captured since then
	busy   bool      // kept from one run to the next, by a file called busyName
}

const (
	busyName = "busy"

	busyFrames = 1000 // SQLite's own checkpoint comes with so many
	busyRate   = 10   // frames a second from which on a database is busy
	idleRate   = 1    // and below which it is not, where it was open for idleFor
	idleFor    = time.Minute
)

// loadActivity finds whether the database was busy.
func (d *Database) loadActivity() {
	_, err := d.state.Stat(busyName)
	d.activity.busy = err == nil
}

// opened notes that an app opens the database.
func (a *activity) opened() {
	if a.since.IsZero() {
		a.since = time.Now()
	}
}

// active notes that frames were captured.
func (d *Database) active(frames int) {
	a := &d.activity
	if a.frames += frames; a.busy || a.frames < busyFrames || float64(a.frames) < busyRate*time.Since(a.since).Seconds() {
		return
	}
	a.busy = true
	d.saveActivity()
}

// endActivity is for the moment at which no app has the database open any more.
func (d *Database) endActivity() {
	a := &d.activity
	if a.since.IsZero() {
		return
	}
	open := time.Since(a.since)
	if a.busy && open > idleFor && float64(a.frames) < idleRate*open.Seconds() {
		a.busy = false
		d.saveActivity()
	}
	a.since, a.frames = time.Time{}, 0
}

// saveActivity keeps whether the database is busy. Where that fails, it is found
// anew.
func (d *Database) saveActivity() {
	var err error
	if d.activity.busy {
		err = d.state.WriteFile(busyName, nil, 0o600)
	} else if err = d.state.Remove(busyName); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		d.logger.Debug("whether the database is written much is not kept", "db", d.path, "err", err)
	}
}
