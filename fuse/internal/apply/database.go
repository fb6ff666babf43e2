package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/scrub"
	"weir/fuse/internal/state"
	"weir/stream"
)

// defaultCheckpointFrames is how many frames SQLite, too, lets gather before a checkpoint.
const defaultCheckpointFrames = 1000

// Options are the optional settings of Open; the zero value works.
type Options struct {
	Path     string // names the database in messages and in Status. Default: its name
	Upstream string // for Status
	Log      stream.LogOptions
	Logger   *slog.Logger

	// CheckpointFrames is how many frames gather before a checkpoint. The WAL restarts at four
	// times as many.
	CheckpointFrames uint32

	Scrub scrub.Timing // when all pages are read and compared with their checksums
}

// Database is a replica of one database.
type Database struct {
	root   *os.Root // the directory that holds the database and its companions
	state  *os.Root // .weir/<name> in it
	name   string
	path   string
	logger *slog.Logger
	log    *stream.Log

	checkpointFrames uint32
	ready            chan struct{} // closed when a database is published at a known position. Under tailLock.
	kick             chan struct{} // of one: there may be something to checkpoint
	stopping         chan struct{} // closed by Close
	stopped          sync.WaitGroup

	// tailLock is held by who has put its one value in. It guards tail, the frames of index behind
	// the published ones, and who may publish.
	tailLock chan struct{}
	tail     tail
	index    *index

	// ckptLock guards nBackfill and the read-marks: frames are copied under it, and the WAL
	// restarts under it and tailLock.
	ckptLock sync.Mutex

	mu sync.RWMutex
	// The published state. It changes under tailLock and mu both, so that either is enough to read it.
	file    *os.File                   // the database; nil while there is none
	hdr     dbfile.IndexHeader         // PageSize 0 while there is none
	sums    *stream.Sums               // with the true page 1; nil while there is none
	pos     stream.Pos                 // zero while there is none, or where it is not known
	version byte                       // the file format version in the upstream's page 1
	lost    map[uint32]stream.Checksum // damaged pages, and the checksum that each has, 0 where it cannot be read
	mount   Mount                      // nil before Attach. Guarded by mu.

	upstream upstream
}

var (
	_ = (stream.Database)((*Database)(nil))
	_ = (stream.Replica)((*Database)(nil))
)

// Open opens the replica called name in root, and publishes what it has. The database need not
// exist yet. No process may have it open.
func Open(root *os.Root, name string, opt Options) (*Database, error) {
	d := &Database{
		root: root, name: name, path: opt.Path, logger: opt.Logger, checkpointFrames: opt.CheckpointFrames,
		ready: make(chan struct{}), kick: make(chan struct{}, 1), stopping: make(chan struct{}), tailLock: make(chan struct{}, 1),
		upstream: upstream{url: opt.Upstream, heardAt: time.Now(), sentAt: time.Now(), caughtUp: time.Now()},
	}
	if d.path == "" {
		d.path = name
	}
	if d.logger == nil {
		d.logger = slog.New(slog.DiscardHandler)
	}
	if d.checkpointFrames == 0 {
		d.checkpointFrames = defaultCheckpointFrames
	}
	if opt.Log.Logger == nil {
		opt.Log.Logger = d.logger
	}
	if err := d.open(opt.Log); err != nil {
		return nil, fmt.Errorf("open replica %s: %w", d.path, errors.Join(err, d.closeFiles()))
	}
	d.stopped.Go(d.checkpoints)
	d.stopped.Go(func() { scrub.Run(d.stopping, opt.Scrub, d.scrub) })
	return d, nil
}

func (d *Database) open(opt stream.LogOptions) error {
	var err error
	if d.state, err = state.Open(d.root, d.name); err != nil {
		return err
	}
	if opt, err = state.LimitLog(opt, d.state); err != nil {
		return err
	}
	if d.log, err = stream.OpenLog(d.state, opt); err != nil {
		return err
	}
	return d.recover()
}

// Ready is closed once there is a database for readers to see. Before that, the mount must show none: a file that
// there may be is at no known position, because somebody else wrote to it, and may hold anything.
func (d *Database) Ready() <-chan struct{} { return d.ready }

// show has readers see the database. The caller holds tailLock.
func (d *Database) show() {
	select {
	case <-d.ready:
	default:
		close(d.ready)
		d.changed(d.name)
	}
}

// Log is the replica's own log, from which it serves further replicas.
func (d *Database) Log() *stream.Log { return d.log }

// closeWait bounds the wait of Close for an Apply or snapshot in progress.
const closeWait = 10 * time.Second

// Close ends the replica. Where no reader is left, the database becomes a file of its own, without
// a WAL; its page checksums are saved so that the next Open need not read it. Follow must have
// returned.
func (d *Database) Close() error {
	close(d.stopping)
	d.stopped.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	select {
	case d.tailLock <- struct{}{}: // never given back
	case <-ctx.Done():
		return fmt.Errorf("close replica %s: it is still being written to", d.path)
	}
	err := d.settle()
	if err = errors.Join(err, d.log.Sync(), d.closeFiles()); err != nil {
		return fmt.Errorf("close replica %s: %w", d.path, err)
	}
	return nil
}

func (d *Database) closeFiles() error {
	var errs []error
	for _, f := range []*os.File{d.file, d.tail.file} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	if d.index != nil {
		errs = append(errs, d.index.close())
	}
	if d.log != nil {
		errs = append(errs, d.log.Close())
	}
	if d.state != nil {
		errs = append(errs, d.state.Close())
	}
	return errors.Join(errs...)
}

// take takes tailLock.
func (d *Database) take(ctx context.Context) error {
	select {
	case <-d.stopping:
		return stream.ErrClosed
	default:
	}
	select {
	case d.tailLock <- struct{}{}:
		return nil
	case <-d.stopping:
		return stream.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Database) give() { <-d.tailLock }

// exists reports whether there is a database. The caller holds tailLock or mu.
func (d *Database) exists() bool { return d.hdr.PageSize != 0 }

// readPage reads a page as published, its file format version being what this database says. The
// caller holds tailLock or mu.
func (d *Database) readPage(pgno uint32, page []byte) error {
	if frame := d.index.find(pgno, d.hdr.MxFrame); frame != 0 {
		return d.tail.readPage(frame, page)
	}
	return readFull(d.file, page, int64(pgno-1)*int64(len(page)))
}
