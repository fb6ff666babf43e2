package capture

import "weir/fuse/internal/dbfile"

// Opened says that a process opened or created the file of the given role.
func (d *Database) Opened(role dbfile.Role) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch role {
	case dbfile.RoleSHM:
		d.shmUsers++
	case dbfile.RoleDatabase:
		d.activity.opened()
	}
	if at := d.handle(role); at != nil && *at != nil || role == dbfile.RoleSHM && d.shm != nil {
		return nil
	}
	return d.reopen(role)
}

// Closed says that a handle that Opened was told of is closed.
func (d *Database) Closed(role dbfile.Role) {
	if role != dbfile.RoleSHM {
		return
	}
	d.mu.Lock()
	d.shmUsers--
	d.mu.Unlock()
	d.Look()
}

// Remove runs op, which removes the file of the given role or gives it another
// name, after what goes with it is captured.
func (d *Database) Remove(role dbfile.Role, op func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.remove(role, op)
	if err != nil {
		return err
	}
	return d.reopen(role)
}

func (d *Database) remove(role dbfile.Role, op func() error) error {
	switch role {
	case dbfile.RoleJournal:
		return d.endJournal(op)
	case dbfile.RoleWAL:
		if _, err := d.captureWAL(); err != nil {
			return err
		}
		if err := op(); err != nil {
			return err
		}
		d.forgetWAL()
		return nil
	}
	return op()
}

// Resize runs op, which sets the size of the journal or WAL, after what it
// cuts is captured.
func (d *Database) Resize(role dbfile.Role, size int64, op func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case role == dbfile.RoleJournal && size == 0:
		return d.endJournal(op)
	case role == dbfile.RoleWAL:
		return d.resizeWAL(size, op)
	}
	return op()
}

// resizeWAL is Resize for the WAL. One that is cut to nothing lies over the database no more, though its file stays
// (SQLITE_FCNTL_PERSIST_WAL).
func (d *Database) resizeWAL(size int64, op func() error) error {
	if _, err := d.captureWAL(); err != nil {
		return err
	}
	d.wal.cut(size)
	if err := op(); err != nil {
		return err
	}
	if size == 0 {
		d.forgetWAL()
	}
	return nil
}

// Gone runs op, which takes the database away. To the log it stays what it was, until Replaced says what comes in its
// place.
func (d *Database) Gone(op func() error) error {
	return d.swap(op, func() error {
		d.wal.forget()
		d.clean()
		return d.reopen(dbfile.RoleDatabase)
	})
}

// Replaced runs op, which puts another file in the database's place or takes
// it away, and commits the difference.
func (d *Database) Replaced(op func() error) error { return d.swap(op, d.commitReplaced) }

// swap runs op, which changes what file the database is, after the last of the one before is captured, and then what
// follows. Who asks for locks asks for the new one's.
func (d *Database) swap(op, then func() error) error {
	if d.locks != nil {
		defer d.locks.Leave() // without mu
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.captureWAL(); err != nil {
		return err
	}
	if err := op(); err != nil {
		return err
	}
	return then()
}

func (d *Database) commitReplaced() error {
	if err := d.reopen(dbfile.RoleDatabase); err != nil {
		return err
	}
	if gone, err := d.isEmpty(); err != nil {
		return err
	} else if gone {
		d.wal.forget()
	}
	d.dirty.all = true
	d.commitDirty()
	d.log.Publish()
	return nil
}
