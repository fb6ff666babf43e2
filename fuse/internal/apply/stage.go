package apply

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"weir/fuse/internal/dbfile"
	"weir/fuse/internal/state"
	"weir/stream"
)

// stageName is the file in the state directory in which a whole database is put together.
const stageName = "stage"

// stage is a database in the making, in a file of its own that readers do not see.
type stage struct {
	d       *Database
	file    *os.File
	sums    *stream.Sums
	version byte
	page1   []byte
}

func (d *Database) newStage(pageSize uint32) (*stage, error) {
	f, err := d.state.OpenFile(stageName, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", d.path, err)
	}
	return &stage{d: d, file: f, sums: stream.NewSums(pageSize)}, nil
}

// set writes a page.
func (s *stage) set(pgno uint32, data []byte) error {
	s.sums.Set(pgno, stream.PageSum(pgno, data))
	if pgno == 1 {
		s.version = data[dbfile.ReadVersionOffset]
		s.page1 = append(s.page1[:0], data...)
		setVersion(s.page1, dbfile.VersionWAL)
		data = s.page1
	}
	_, err := s.file.WriteAt(data, int64(pgno-1)*int64(len(data)))
	return err
}

// add applies a transaction.
func (s *stage) add(pages *stream.TxnReader) error {
	for {
		pgno, data, err := pages.Next()
		if err == io.EOF {
			return s.resize(pages.Header().Commit)
		}
		if err != nil {
			return err
		}
		if err := s.set(pgno, data); err != nil {
			return err
		}
	}
}

func (s *stage) resize(n uint32) error {
	s.sums.Truncate(n)
	return s.file.Truncate(int64(n) * int64(s.sums.PageSize()))
}

// check compares the stage with the position that it should be at.
func (s *stage) check(pos stream.Pos) error {
	if got := s.sums.Total(); got != pos.PostApplyChecksum || s.page1 == nil {
		return fmt.Errorf("%w: the database would have checksum %s, want %s", stream.ErrPosMismatch, got, pos)
	}
	return nil
}

func (s *stage) drop() error {
	err := s.d.state.Remove(stageName)
	if errors.Is(err, fs.ErrNotExist) { // it got as far as a rename
		err = nil
	}
	return errors.Join(err, s.file.Close())
}

// install makes the stage the database and publishes it at pos. There was none before. The caller
// holds tailLock.
func (s *stage) install(pos stream.Pos) error {
	d := s.d
	if err := d.own(s.file); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	if err := d.root.Rename(filepath.Join(state.Path(d.name), stageName), d.name); err != nil {
		return err
	}
	if err := state.SyncParent(d.root, d.name); err != nil {
		return err
	}
	if err := d.startWAL(s.page1, s.size()); err != nil {
		return err
	}
	d.mu.Lock()
	d.file, d.sums, d.pos, d.version, d.lost = s.file, s.sums, pos, s.version, nil
	d.mu.Unlock()
	d.show()
	return nil
}

func (s *stage) size() uint32 { return s.sums.Len() }

// applyFirst makes the database from its first transaction, which has every page.
func (d *Database) applyFirst(payload io.Reader, n int64) error {
	txn, err := d.log.Receive(payload, n, func(txn *stream.Txn) error {
		if txn.Pre() != d.pos {
			return fmt.Errorf("%w: it follows %s, this database is at %s", stream.ErrPosMismatch, txn.Pre(), d.pos)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = d.log.Write()
	if err == nil {
		err = d.installFirst(txn)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("transaction %s: %w", txn.Header().MinTXID, err), d.log.Withdraw())
	}
	d.log.Publish()
	return nil
}

func (d *Database) installFirst(txn *stream.Txn) error {
	pages, err := txn.Pages()
	if err != nil {
		return err
	}
	defer pages.Close()
	s, err := d.newStage(pages.Header().PageSize)
	if err != nil {
		return err
	}
	err = s.add(pages)
	if err == nil {
		err = s.check(txn.Post())
	}
	if err == nil {
		err = s.install(txn.Post())
	}
	if err != nil {
		return errors.Join(err, s.drop())
	}
	return nil
}

// own gives a file that this package made the owner and the permissions of the database, or of its
// directory where there is none, so that who may read one may read all.
func (d *Database) own(f *os.File) error {
	mode := os.FileMode(0o644)
	fi, err := d.root.Stat(d.name)
	if err == nil {
		mode = fi.Mode().Perm()
	} else if fi, err = d.root.Stat(filepath.Dir(d.name)); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}
