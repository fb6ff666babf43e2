package oracle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weir/fuse/fusetest"
	"weir/stream"
)

// pair is a primary and a replica of it, mounted by this process, and the plain twin.
type pair struct {
	*fusetest.Pair
	mounted  side // on the primary's mount
	plain    side
	readers  [readers]*reader
	followed []*followed

	loose     [writers]bool // the writer's commits have no journal
	inTxn     [writers]bool
	attached  [writers]bool // the writer has the second database, too
	mayBeLate bool          // the last operation's commit may have no journal

	answered func(op, fusetest.Answer) // told of each operation; may be nil
}

// followed is one of the databases, as it is followed.
type followed struct {
	*fusetest.Database
	last     *state      // the twin's last committed state
	txid     stream.TXID // of the last state
	pageSize uint32      // of the last state that had pages
	deltas   int         // of the replica's stream, that are to be expected
	rolled   *state      // what the twin has once the hot journal that a killed writer left is rolled back; or nil

	committed map[stream.Checksum]bool // the twin's states
	compared  stream.TXID              // the stream's states up to here are among them
	pending   bool                     // the stream was not there yet, with a commit that had no journal
	passing   stream.TXID              // how many transactions there are at least, though the twin's state is the last one's
	replaced  bool                     // other files are in the database's place now, so that some state between may be seen
}

// newPair mounts a pair below base. close it even after an error.
func newPair(base string) (*pair, error) {
	p := &pair{Pair: fusetest.NewPair(base, flagPassthrough, true, databases...)}
	p.mounted.dir, p.plain.dir = p.Primary.Dir, filepath.Join(base, "plain")
	for _, db := range p.Databases {
		empty := &state{sums: stream.NewSums(0)}
		p.followed = append(p.followed, &followed{Database: db, last: empty, committed: make(map[stream.Checksum]bool)})
	}
	if err := os.Mkdir(p.plain.dir, 0o755); err != nil {
		return p, err
	}
	return p, p.Mount()
}

// end closes everything in order and compares what is left in the files. What cannot be undone is committed before.
func (p *pair) end() error {
	var errs []error
	for who := range p.loose {
		if p.loose[who] && p.inTxn[who] {
			_, err := p.do(op{who, "sql", "COMMIT"})
			errs = append(errs, err)
		}
	}
	p.mayBeLate = false
	errs = append(errs, p.mounted.end(), p.plain.end(), p.releaseAll())
	for _, f := range p.followed {
		errs = append(errs, p.reconcile(f.Name))
		f.replaced = f.pending // must be there
		if err := p.check(f); err != nil {
			errs = append(errs, fmt.Errorf("%s, after all connections are closed: %w", f.Name, err))
		}
	}
	errs = append(errs, p.endReaders(), p.warned(), p.Unmount())
	for _, f := range p.followed {
		errs = append(errs, f.compareFiles(p.Primary.Dir))
		if f.last.size > 0 { // what was removed is an empty database on a replica, and that has a page
			errs = append(errs, f.compareFiles(p.Replica.Dir))
		}
	}
	return errors.Join(errs...)
}

func (p *pair) endReaders() (err error) {
	for i, r := range p.readers {
		if r != nil {
			err = errors.Join(err, r.proc.End())
			p.readers[i] = nil
		}
	}
	return err
}

// warned returns what weir has warned of as an error, but for what it must warn of.
func (p *pair) warned() error {
	p.Warnings.Forgive("without a rollback journal")
	return p.Warnings.Take()
}

// compareFiles compares the files in a directory that is no longer mounted with the twin's last state.
func (f *followed) compareFiles(dir string) error {
	got, err := readState(filepath.Join(dir, f.Name), false)
	if err != nil {
		return err
	}
	if err := fusetest.Diff(got.seen(), f.last.seen()); err != nil {
		return fmt.Errorf("the files in %s and the twin's after the end: %w", filepath.Join(dir, f.Name), err)
	}
	return nil
}

// close takes everything away, whatever state it is in. After end it has nothing to do.
func (p *pair) close() error {
	p.mounted.kill()
	p.plain.kill()
	for _, r := range p.readers {
		if r != nil {
			r.proc.Kill()
		}
	}
	return p.Close()
}
