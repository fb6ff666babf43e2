// Package apply is the replica's pure middle: it takes transactions and
// snapshots of one database and shows them to SQLite readers. It knows neither
// the kernel nor the network. Files come as an os.Root, readers' locks and what
// they see of the files as [Mount], transactions as bytes.
//
// # How readers see transactions
//
// The database is in WAL mode for its readers, whatever it is upstream: the file
// format versions in page 1 are 2 as long as it is open, and the true ones
// are kept for the checksum. Apply is SQLite's one writer, and SQLite's
// protocol (https://sqlite.org/walformat.html) does the rest: a transaction is
// appended to the WAL, its frames are entered in the wal-index, and then a new
// wal-index header makes them all visible at once. Readers that have begun
// stay on their mxFrame.
//
// A transaction is verified before that: its file by [stream.Log], the state
// that it leads to by the rolling checksum, which its pages' checksums say before one
// of them is written.
//
// # Backlogs
//
// Transactions that have come are applied in one go ([batch]), up to some hundred
// KiB: each is verified and appended to the log by itself, then the last image of
// each page is written to the WAL, as one commit, and published with all of them.
// Readers see the state after the last; those between are in the log. None waits for
// one that has not come, and where one is refused, those before it are published. One
// that cuts the database is the last of its batch: what a page was that came again
// after a cut could not be told from the WAL alone.
//
// # What readers rely on
//
// Readers have the wal-index mapped read-only, so that they cannot do what
// SQLite's readers do elsewhere: set read-marks, or recover. The mount holds
// the DMS lock shared and the WRITE lock for ever, so that readers trust the
// wal-index, and try again where they meet a header half written.
//
// Rule 1. Every reader finds a read-mark. With the header that is current it
// finds one in slots 1 to 3, which are only moved forward, to an mxFrame that
// is published. With a header that is no longer current, all of those may be
// too new for it, and without a mark SQLite gives up (SQLITE_READONLY_CANTINIT)
// before it looks whether the header changed. So the mark in slot 4 is always
// 0, and catches such readers: they lock it, see that the header changed, and
// begin again.
//
// Rule 2. A published header never has mxFrame 0. A WAL without a frame is the
// one case that SQLite's readers treat differently.
//
// Rule 3. As in SQLite, frames behind a held read-mark are not copied into the
// database, nothing is copied while the lock of slot 0 is held, and the WAL
// restarts only with all of it in the database and slots 1 to 4 locked. Slot 0
// is for readers that began when all of the WAL was in the database. They do
// not use the WAL, so that it can restart under readers that overlap without
// a gap.
//
// Rule 4. A restart sets nBackfill to 0 and the read-marks before it publishes
// the header: with the new header and an old nBackfill that happens to be
// equal, a reader would take the WAL for copied.
//
// Rule 5. What readers see of a file may be a copy in the kernel's cache. So
// the mount is told of everything that is written, before anything is published
// that leads a reader there: of frames before the wal-index has them, of the
// wal-index's entries before its header, of its header's second copy before
// the first, of pages before nBackfill. The file is always written first: what
// the kernel reads anew in between is not older than what is published.
//
// The size is another matter. The kernel keeps it, asks for it, and may get an
// answer late; readers get a short read then, where a file has grown meanwhile.
// So it is the mount that changes sizes ([Mount].Resize), in order with such
// questions: a file grows before it is written to, the WAL and the wal-index by
// chunks. What is behind the frames of the WAL means nothing: mxFrame says where
// they end, and without a wal-index their salts and checksums.
//
// Rule 6. Applying never waits for a reader that stays. A reader that stays pins its
// snapshot, and the WAL grows.
//
// # Durable order
//
//	apply       1 the transactions are appended to the log
//	            2 their frames are appended to the WAL, which is made long enough,
//	              last the commit frame
//	            3 the wal-index header is published
//	            4 the log is published
//	checkpoint  1 the log is synced
//	            2 the WAL is synced
//	            3 the database is made long enough
//	            4 pages are written to it
//	            5 if that was all: it is cut to its size and synced
//	            6 nBackfill is published
//	restart     1 WAL header and frame 1, page 1 as it is, are written at once
//	            2 the wal-index header is published
//	            3 the WAL is synced; only then a second frame is written
//	            4 a long WAL is cut
//	snapshot    1 the pages are written to a file aside, and verified
//	            2 the log begins anew at the snapshot's position
//	            3 the file is synced and renamed into place
//	            4 the WAL and the wal-index are published
//	delta       as apply 2 and 3, then the log begins anew
//
// A snapshot with another page size than the database's cannot be a delta, and
// the file cannot be exchanged under open connections: it is put together
// aside, renamed to "replacement", and copied over the database while all
// readers are locked out.
//
// Nothing is synced for a transaction. The position of a replica is what its
// files say: [Open] copies into the database what the WAL commits, and finds
// the checksum of all pages in the log. The pages are read for that, unless
// [Database.Close] saved their checksums, the file is unchanged, and the machine
// was not started anew since.
//
//   - After apply 1 the log is some transactions ahead: its end is moved aside,
//     and comes again.
//   - After apply 2 the transactions are there.
//   - In a checkpoint or restart the WAL, or else the database, is complete.
//   - After snapshot 2 there is a log and no database: the log counts for
//     nothing.
//   - After a power failure the WAL may have more than the log: it counts up to
//     the last transaction that the log has.
//   - After a delta without its log, and where somebody else wrote to the file,
//     the checksum is not in the log: readers are shown no database before
//     Follow has compared the pages with the upstream's.
//   - A replacement is completed by a rename.
//
// # Damage
//
// Nothing is taken from bytes that do not have their checksum, and each is named
// in a warning. A damaged WAL counts up to the frame before, and saved page
// checksums not at all; both are set aside ([state.SetAside]). Pages that are not
// what they were, in a database that is at no position of the log, come anew in
// the delta; what they were is kept in a file of holes. A damaged header only
// takes the page size away, which the WAL, the saved checksums or the log have,
// too.
//
// What rots while the database is open is looked for ([scrub.Run]), page by page
// under mu for reading. A page that has another checksum than the table is lost:
// until it is written anew, Heard says that the replica is in doubt, and Sums has
// the checksum of what the page is, so that the upstream sends it, and no other.
//
// # Locks
//
// tailLock, then ckptLock, then mu, then the log's own. tailLock is held from the
// beginning of a transaction or snapshot to its end. Everything published
// changes under mu too, so that [Database.Snapshot] can read a page under mu
// alone. The [Mount] is called under any of these, because what it is told must be
// known before readers see the change; it must not call back, and no request
// that it may have to wait for, of a reader or of its own, may need these locks.
package apply
