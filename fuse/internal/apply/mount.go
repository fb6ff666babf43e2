package apply

import (
	"fmt"
	"os"
)

// Locks takes exclusive locks on bytes of the wal-index, where readers take theirs. TryLock does
// not wait; it is false where a reader has the lock.
type Locks interface {
	TryLock(at int64) (bool, error)
	Unlock(at int64) error
}

// Mount is the mount through which readers see the replica's files, which are written below it.
type Mount interface {
	Locks

	// Changed says that the entry called name has come.
	Changed(name string)

	// Resize gives the file called name another size; what that adds is zeros. When it returns, readers
	// have the size, and none that they ask for before replaces it.
	Resize(name string, size int64) error

	// Wrote says that n > 0 bytes at off of the file called name were written, within its size. When it
	// returns, readers get them, and no byte that was there before.
	Wrote(name string, off, n int64) error

	// Store says the same of b at off in a file that readers have mapped. They keep their mapping,
	// and see b in it when it returns.
	Store(name string, off int64, b []byte) error
}

// Attach gives the replica its mount. It is called once, before there are readers; without a mount
// nothing is checkpointed.
func (d *Database) Attach(m Mount) {
	d.mu.Lock()
	d.mount, d.tail.mount = m, m
	if d.index != nil {
		d.index.mount = m
	}
	d.mu.Unlock()
	d.wantCheckpoint()
}

// attached is the mount, nil while there is none.
func (d *Database) attached() Mount {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.mount
}

// changed says that a file of the database has come. No reader knows of it yet.
func (d *Database) changed(name string) {
	if m := d.attached(); m != nil {
		m.Changed(name)
	}
}

// resize gives a file of the database another size. Before there is a mount there are no readers.
func resize(m Mount, f *os.File, name string, size int64) (err error) {
	if m == nil {
		err = f.Truncate(size)
	} else {
		err = m.Resize(name, size)
	}
	if err != nil {
		return fmt.Errorf("give %s %d bytes: %w", name, size, err)
	}
	return nil
}

// wrote says that a file of the database was written below the mount; see [Mount]. The caller does
// not hold mu.
func (d *Database) wrote(name string, off, n int64) error {
	return wrote(d.attached(), name, off, n)
}

func wrote(m Mount, name string, off, n int64) error {
	if m == nil {
		return nil
	}
	if err := m.Wrote(name, off, n); err != nil {
		return fmt.Errorf("have readers see %s as written: %w", name, err)
	}
	return nil
}

// pageRange gathers ascending pages of size bytes, and calls done for each run of them.
type pageRange struct {
	size        int64
	first, last uint32
	done        func(off, n int64) error
}

func (r *pageRange) add(pgno uint32) error {
	if r.first != 0 && pgno == r.last+1 {
		r.last = pgno
		return nil
	}
	err := r.end()
	r.first, r.last = pgno, pgno
	return err
}

func (r *pageRange) end() error {
	if r.first == 0 {
		return nil
	}
	return r.done(int64(r.first-1)*r.size, int64(r.last-r.first+1)*r.size)
}
