package capture

// prepareMax is how much of a transaction is packed before it is committed, in
// bytes of pages.
const prepareMax = 4 << 20

// SyncingDatabase says that the database file is being synced, as SQLite does
// when a transaction is whole, and that who does it waits for the disk. So
// meanwhile its pages are packed for the log: most of a commit's time goes into
// that, and the app waits for the commit, too.
func (d *Database) SyncingDatabase() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dirty.journal == (journalID{}) || d.wal.frame > 0 {
		return
	}
	size := d.sums.PageSize()
	read, buf := d.readDatabase(size), make([]byte, size)
	for pgno := range d.dirty.pages {
		if len(d.dirty.packed) >= prepareMax/int(size) {
			return
		}
		if d.dirty.packed[pgno] == nil && read(pgno, buf) == nil {
			d.dirty.pack(pgno, buf, &d.packer)
		}
	}
}
