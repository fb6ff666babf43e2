package dbfile

// Bytes of the database file that SQLite locks, https://sqlite.org/c3ref/file_control.html and
// lockingv3.html.
const (
	PendingByte  = 0x40000000
	ReservedByte = PendingByte + 1
	SharedFirst  = PendingByte + 2
	SharedSize   = 510
)

// Bytes of the wal-index file that SQLite locks. ReadLock gives those of the read-marks.
const (
	WriteLock   = 120
	CkptLock    = 121
	RecoverLock = 122
	DMSLock     = 128 // "dead man's switch": shared by every process that has the wal-index open
)

// ReadMarks is the number of read-marks. Readers that need no WAL hold the first, which is always 0.
const ReadMarks = 5

// ReadLock returns the lock byte of read-mark i in the wal-index file.
func ReadLock(i int) int64 { return int64(RecoverLock + 1 + i) }

// LockPgno returns the number of the page that contains PendingByte. SQLite never reads or writes it.
func LockPgno(pageSize uint32) uint32 { return PendingByte/pageSize + 1 }
