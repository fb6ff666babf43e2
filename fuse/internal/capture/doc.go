// Package capture turns what SQLite writes to one database into transactions
// in a [stream.Log]. It is the primary's pure middle: it knows neither the
// kernel nor the network. Bytes of the database, its WAL, wal-index and
// rollback journal go in, with signals that say when to look at them;
// transactions come out.
//
// # What is committed
//
// WAL mode (https://www.sqlite.org/walformat.html): the frames that the
// wal-index header counts in mxFrame. A commit frame in the WAL alone is not
// enough: its writer may still fail, and the next one overwrites it. Where no
// app has a wal-index open (locking_mode=EXCLUSIVE) a commit frame whose
// checksum chain holds is committed, as it is for SQLite's own recovery; one
// that is overwritten all the same is corrected by a transaction of its own.
//
// Rollback modes (https://www.sqlite.org/atomiccommit.html): the end of the
// journal (removed, cut to nothing, or its header zeroed) commits every page
// written since the journal began. Every write to the database passes
// [Database.Write], so that set of pages is exact. The journal's own page
// numbers are not: SQLite does not journal a free page that it takes into use.
// A rollback ends its journal too, but leaves every page as it was, and a set
// of pages in which none differs is no transaction.
//
// Without a journal (journal_mode=OFF and MEMORY) nothing in the files tells a
// whole transaction from one that SQLite has written in part. There a commit is
//   - a sync of the database by who wrote it: from synchronous=NORMAL up SQLite
//     syncs it when the transaction is whole, before it unlocks it;
//   - else a moment at which no app holds a lock under which SQLite writes
//     ([Locks]). A look finds it within milliseconds. Where the next transaction
//     begins before that look, both become one, which is a state that was
//     committed all the same. locking_mode=EXCLUSIVE with synchronous=OFF has no
//     such moment before the close.
//
// cp, and what else writes a database without SQLite's locks, is done when it
// has closed or synced the file.
//
// All meet in one commit; nothing after it knows the journal mode.
//
// # What is written unseen
//
// In WAL mode only checkpoints write to the database, and what they write is in the
// WAL. So a database in WAL mode that is busy (activity) may be given handles whose
// writes do not come here ([Database.PassThrough]). Its size, its syncs and what
// happens to its WAL are seen all the same. A checkpoint begins with a sync of the
// WAL and ends with the truncation of the database; capture catches up before it
// answers either.
//
// A connection that leaves WAL mode with such a handle writes transactions unseen,
// and so does cp. That is told by the file's times, which differ from those after
// the last checkpoint, or where they can't yet, by page 1. Then all pages are read at the commit: while who ends or
// syncs the journal waits for the answer, or at a moment at which no app holds a
// lock, and only if the file's times prove that nothing was written meanwhile. What
// is still uncommitted when a new WAL begins becomes one transaction with what that
// has.
//
// # Why nothing is missed
//
// Rule 1. Nothing is overwritten before it is captured. SQLite restarts,
// truncates or removes a WAL only after a checkpoint that copied all of it,
// and such a checkpoint ends with an ftruncate of the database, whatever
// synchronous says. So capture catches up with mxFrame before it lets through
// any write or truncation of the database, and any removal or truncation of
// the WAL.
//
// Rule 2. In rollback modes a page is read between the journal's end and the
// next write to the database, both of which wait for it. Where the end itself
// is not seen (a header zeroed in place, journal_mode=PERSIST), the next write
// to the database finds another journal than the one under which the pages
// were written, and commits them first.
//
// Rule 3. The database file is never ahead of the log, by rules 1 and 2; where it is
// written unseen, because a checkpoint's first sync waits for the log. With
// synchronous=OFF there is none, and there weir's death within a checkpoint may leave
// the file ahead: the log begins anew then.
//
// # Durable order
//
//	WAL       1 SQLite writes frames and publishes them in the wal-index
//	          2 the transaction is appended to the log, and published
//	          3 a checkpoint writes it to the database
//	rollback  1 SQLite writes pages under a journal
//	          2 the transaction is appended to the log, not yet published
//	          3 the journal's end is let through
//	          4 the transaction is published
//
// A crash before WAL 2 leaves frames that [Open] finds behind the last logged
// one and captures one by one. A crash between rollback 2 and 3 leaves a
// journal that SQLite rolls back and a last log record that never was: Open
// finds that the pages' checksums are those of the record before, and moves it
// aside; no follower has seen it. A crash between 3 and 4 is no difference.
// With journal_mode=PERSIST the end is a write in place, which is seen after it:
// there 3 comes before 2, and after a crash in between the log begins anew.
//
// The log is synced each second, and at Close. No app waits for that: a power
// failure may take the log's end while the database has it, and then the log
// begins anew, and followers take the pages that differ.
//
// Open compares checksums of all pages with the log's positions unless the
// files are unchanged since a clean [Database.Close], and the machine was not
// started anew: after a power failure nothing tells that they are. Pages that are not at
// any logged position (an app wrote while nothing was mounted) become one
// catch-up transaction where the table of the last position was saved, and a
// new start of the log where it was not: followers then take a delta.
//
// # Damage
//
// Saved page checksums that are damaged are set aside and named, and the database
// is read. What rots while it is open is looked for ([scrub.Run]), a page at a
// time under mu; pages that are being written are left out. A page that has another
// checksum than the table is named, and nothing else is done: there is nowhere to
// have it from.
//
// # Locks
//
// Database.mu guards everything below a Database and is held over the backing
// write that it gates, so that capture never reads half a write. The log's own
// mutex is taken inside it. No callback runs under it except the op that a
// caller passes in and the questions of [Locks], which must not come back.
package capture
