package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/scrub"
	"weir/fuse/internal/state"
	"weir/stream"
)

// Options are the optional settings of Open; the zero value works.
type Options struct {
	// Path names the database in messages and in Status. Default: its name.
	Path   string
	Log    stream.LogOptions
	Logger *slog.Logger

	// Intercepted says that the caller passes on every write to the WAL and the
	// journal, by WriteWAL and WroteJournal, and that the wal-index on disk is
	// not the one that the apps share. Then what is committed is read off the WAL.
	Intercepted bool

	// Locks tells what is whole of what is written without a journal. Default:
	// nobody locks the database.
	Locks Locks

	// PassAtOnce says that the database may be written unseen whether it is busy or not.
	PassAtOnce bool

	SyncEvery time.Duration // how often the log is made durable; default: each second

	Scrub scrub.Timing // when all pages are read and compared with their checksums
}

// Database captures the transactions of one SQLite database.
type Database struct {
	root   *os.Root // the directory that holds the database and its companions
	state  *os.Root // .weir/<name> in it
	name   string
	path   string
	logger *slog.Logger
	log    *stream.Log
	look   *looker

	closing    chan struct{}  // closed by Close
	background sync.WaitGroup // of what ends then

	mu sync.Mutex

	// db and journal are open for reading where the files exist, else nil.
	// Replaced when a file of that name comes or goes. Guarded by mu.
	db, journal *os.File

	// shm is the wal-index, opened when it is first read; nil before, and where
	// shmGone says that there is none. Guarded by mu.
	shm     *os.File
	shmGone bool

	// shmUsers counts the handles that apps have of the wal-index; a mapping
	// keeps its handle. Without any the file is what a killed app left, and who
	// writes the WAL has a wal-index of his own. Guarded by mu.
	shmUsers int

	intercepted bool  // see Options
	locks       Locks // may be nil

	// sums is the database at log.Last().
	// Invariant: sums.Total() == log.Last().PostApplyChecksum, or the log is
	// at position zero and sums is empty. Guarded by mu.
	sums *stream.Sums

	// recovered is the database file while it is recovered, nil else: it is read once.
	recovered *stream.Sums

	wal   wal      // guarded by mu
	dirty dirtySet // guarded by mu

	packer stream.Packer // guarded by mu

	passed     passed   // guarded by mu
	activity   activity // guarded by mu
	passAtOnce bool     // see Options

	// idle is closed and replaced when dirty becomes empty. Guarded by mu.
	idle chan struct{}

	faults stream.Faults // of failed captures; none stands after a good one. Guarded by mu.
	said   map[string]bool
}

var _ = (stream.Database)((*Database)(nil))

// Open opens the database called name in root for capture and brings the log
// up to date with it. The database need not exist yet. No process may have it
// open, and a hot journal must have been rolled back.
func Open(root *os.Root, name string, opt Options) (*Database, error) {
	d := &Database{root: root, name: name, path: opt.Path, logger: opt.Logger, intercepted: opt.Intercepted, passAtOnce: opt.PassAtOnce, locks: opt.Locks, said: make(map[string]bool), idle: make(chan struct{}), closing: make(chan struct{})}
	if d.path == "" {
		d.path = name
	}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	if err := d.open(opt.Log); err != nil {
		d.closeFiles()
		return nil, fmt.Errorf("open %s: %w", d.path, err)
	}
	d.look = startLooker(d)
	d.background.Go(func() { scrub.Run(d.closing, opt.Scrub, d.scrub) })
	d.background.Go(func() { d.syncLog(cmp.Or(opt.SyncEvery, syncEvery)) })
	return d, nil
}

func (d *Database) open(opt stream.LogOptions) error {
	var err error
	if d.state, err = state.Open(d.root, d.name); err != nil {
		return err
	}
	d.loadActivity()
	if opt.Logger == nil {
		opt.Logger = d.logger
	}
	if opt, err = state.LimitLog(opt, d.state); err != nil {
		return err
	}
	if d.log, err = stream.OpenLog(d.state, opt); err != nil {
		return err
	}
	if err := d.claim(); err != nil {
		return err
	}
	for _, role := range []dbfile.Role{dbfile.RoleDatabase, dbfile.RoleJournal, dbfile.RoleWAL} {
		if err := d.reopen(role); err != nil {
			return err
		}
	}
	return d.recover()
}

// claim begins a history of its own, where the log is another writer's: a replica's, or a copy of a primary's.
func (d *Database) claim() error {
	owner, err := state.Owner(d.state)
	if err != nil {
		return err
	}
	was := d.log.ID()
	forked, err := d.log.Claim(owner)
	if forked {
		d.logger.Warn("a primary from here on: replicas that have more than this database has of the history that it goes on with are refused",
			"db", d.path, "history", was, "pos", d.log.Last(), "new-history", d.log.ID())
	}
	return err
}

// reopen opens the file of the given role anew, or notes that there is none.
func (d *Database) reopen(role dbfile.Role) error {
	if role == dbfile.RoleSHM {
		return d.forgetIndex()
	}
	at := d.handle(role)
	if at == nil {
		return nil
	}
	if *at != nil {
		d.release(*at)
	}
	f, err := d.root.Open(d.name + role.Suffix())
	if errors.Is(err, fs.ErrNotExist) {
		f, err = nil, nil
	}
	*at = f
	return err
}

// release closes f, and waits for nothing. The last descriptor of a removed file has the disk free what it takes, which
// an app that removes its journal would wait for.
func (d *Database) release(f *os.File) { d.background.Go(func() { f.Close() }) }

// handle is where the open file of a role is kept; nil for a role of which
// capture keeps none.
func (d *Database) handle(role dbfile.Role) **os.File {
	switch role {
	case dbfile.RoleDatabase:
		return &d.db
	case dbfile.RoleJournal:
		return &d.journal
	case dbfile.RoleWAL:
		return &d.wal.file
	}
	return nil
}

// Log is the log that capture appends to.
func (d *Database) Log() *stream.Log { return d.log }

// Close captures what is committed, saves the page checksums so that the next
// Open need not read the database, and closes the log. The mount must be gone.
func (d *Database) Close() error {
	d.look.stop()
	close(d.closing)
	d.background.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.captureWAL()
	if err == nil && d.dirty.journal != (journalID{}) {
		_, err = d.lookDirty() // a journal's end may not have been seen yet
	}
	return errors.Join(err, d.log.Sync(), d.save(), d.closeFiles())
}

func (d *Database) closeFiles() error {
	var errs []error
	for _, f := range []*os.File{d.db, d.journal, d.wal.file, d.shm} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	if d.state != nil {
		errs = append(errs, d.state.Close())
	}
	return errors.Join(errs...)
}

// Status reports the database's position and health.
func (d *Database) Status() stream.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := stream.Status{Path: d.path, Role: stream.RolePrimary, ID: d.log.ID(), Pos: d.log.Published(), PageSize: d.sums.PageSize(), Size: d.sums.Len(), Ready: true}
	d.faults.Report(&s)
	return s
}

// Lag implements [stream.Database].
func (d *Database) Lag() time.Duration { return 0 }

// Via implements [stream.Database].
func (d *Database) Via() []string { return nil }

// note keeps err for Status and says it once, until another or none comes.
// The caller holds mu.
func (d *Database) note(err error) {
	if !d.faults.Note(err, time.Now()) {
		return
	}
	if no, ok := errors.AsType[*noDatabaseError](err); ok { // an app's doing, and perhaps on purpose
		d.logger.Warn(no.Error(), "db", d.path)
		return
	}
	d.logger.Error("capture", "db", d.path, "err", err)
}

// sayOnce says text once in the life of the Database. The caller holds mu.
func (d *Database) sayOnce(level slog.Level, text string) {
	if !d.said[text] {
		d.said[text] = true
		d.logger.Log(context.Background(), level, text, "db", d.path)
	}
}

// readAt fills buf from f at off; what lies beyond the end of the file reads
// as zeros, as SQLite reads it.
func readAt(f *os.File, buf []byte, off int64) error {
	n := 0
	if f != nil {
		var err error
		if n, err = f.ReadAt(buf, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	clear(buf[n:])
	return nil
}
