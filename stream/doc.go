// Package stream carries a database's transactions from where they are
// captured to where they are applied: a [Log] keeps them, a [Server] streams
// them over HTTP, [Follow] takes them and feeds a [Replica]. It knows nothing of
// how SQLite writes files.
//
// # Positions
//
// A transaction turns one state of a database into the next. A state has a
// position, [Pos]: the TXID of the transaction that led to it, from 1, and its
// rolling checksum. That is the xor of the checksums of all pages but the lock
// page, with the top bit set, which [Sums] keeps page by page. The zero position
// is the one before the first transaction. A log has a random identity that its
// replicas adopt; together, identity and position name a state in the world.
//
// # Who may follow whom
//
// An identity is one writer's. A directory that becomes a primary's (a replica's
// before, or a copy of a primary's) gets an identity of its own, and remembers
// the one before with the position at which it began: see [Lineage]. Hello
// carries it, so that both sides judge:
//
//	the replica has                    the upstream's history is
//	                                   its own   a fork of it   another
//	no database                        follows   follows        follows
//	a position before or at the fork   follows   follows
//	a position beyond the fork                   refuses
//	a position not in the log          a delta   refuses        refuses
//	no known position                  a delta   refuses        refuses
//	been a primary, and no fork since  refuses
//
// Where it refuses, [ErrOtherDatabase], nothing is overwritten. Before the fork a
// position that is older than the log gets a delta, too.
//
// Each server has a random instance. Hello lists them from the server up to the
// primary, and a replica that finds its own there refuses, too ([ErrRing]). A
// stream ends when that list changes, so that a ring that closes later is found.
//
//  1. A transaction applies only to the state at its position before. Both
//     sides check: the TXID follows, and the checksum is the same.
//  2. After it is applied, the state has the checksum that it says.
//
// Where either fails, the error is [ErrPosMismatch], nothing is published, and
// the replica asks for a delta. So a replica is at a state of its upstream or,
// while it has no database yet, at none.
//
// Transactions are LTX files (https://github.com/superfly/ltx), one TXID each.
// The one with TXID 1 has all pages.
//
// # The log
//
// A log is a directory of append-only segment files; segment.go says what is in
// them, record.go how transactions are framed. The positions in it are First,
// which is before its oldest record, to Last. Published lies between, and is as
// far as readers see:
//
//	First <= Published <= Last
//
// Begin and Commit, or Receive, append a record; Publish shows what was
// appended, Withdraw drops it. What is received may wait in memory until Write, so
// that several records are written at once. So a transaction can be in the log before its
// commit is let through on a primary, or its pages published on a replica, and
// still not have been.
//
// Nothing is synced but by Sync: the owner of the log knows what else holds a
// transaction until then. A crash leaves a prefix of what was appended after the
// last Sync, perhaps with a torn record:
//
//	append   1 payload and its CRC are written, in one write where they fit, with
//	           the records that were received before
//	         2 the record header is written, in the same write where all fits
//	identity 1 the file is written under another name and synced
//	(Claim,  2 it is renamed, the directory synced
//	 Adopt)  3 a segment with the new identity begins, after those of ancestors,
//	           or else as restart: a crash before leaves segments that belong to
//	           an ancestor, or to another database and are set aside
//	restart  1 an empty segment is written under another name
//	(Reset,  2 the old segments are renamed aside
//	 Adopt)  3 it is renamed: a crash before leaves a log at the zero position
//
// OpenLog reads and verifies all records. It keeps the unbroken run of sound
// records that ends with the newest segment, since the database is near that;
// what is damaged, and what is cut off by it, is set aside: renamed, or copied
// where it is a segment's tail, to a name that ends in .bad. Only when such
// files take more than MaxBytes is the oldest removed; of other files ([SetAside])
// the newest three are kept. The owner then compares
// the database's checksum with the log (Find), and has TruncateAfter or Reset
// bring the log to it.
//
// A Sync that failed is not repeated: the kernel may have dropped what it could
// not write, and a second one would succeed. The log begins anew where it ends.
//
// Old segments are dropped by size and age, and all but the newest two where the
// disk is full, since it is the database's. What was set aside is kept then. The ones that a connected reader has
// still to read are kept until the log has twice MaxBytes; that reader then gets
// [ErrNotInLog]. A record that is found damaged when it is read makes all
// positions before it ErrNotInLog, too.
//
// # The stream
//
// One response carries one database's stream, without end: hello, then perhaps
// pages and the transactions that complete them, then each transaction as it is
// published, and heartbeats. Records are copied from the log as they are, and
// pushed: a publication closes the channel on which the handlers wait, each
// reads the record, writes it and flushes. A follower that does not read holds
// up its own handler only, until WriteTimeout.
//
// A heartbeat carries the upstream's position and its own lag, so that along a
// chain of replicas lags add up. It waits for nothing but the log. A follower
// answers some by POST /stream/ack, beside the stream, with its own position,
// so that the upstream can say how far its followers are, and with who follows it
// in turn ([Followers]), and is told how it stands ([Standing]). Nothing else depends on that: a stream is taken as well by who never acknowledges. A follower may also
// name itself as it asks, by ?name=: then the upstream's status misses it when it
// has gone.
//
//	GET  no position   a snapshot: all pages
//	GET  a position    the transactions after it, or 409
//	GET  "first"       all transactions that the log has
//	POST page sums     a delta: the pages that differ
//
// Snapshot and delta are taken while writes go on. Their pages may be of
// different states; the transactions from the position in hello to the one in
// done, applied over them, make them one. The replica publishes at done, if the
// checksum is right. Only some snapshots read pages at a time, the others beat
// meanwhile; one that waits for its follower to take pages lets others read.
//
// A 409 says which conflict it is: the position is not in the log, so that the
// follower should send its sums, or the identity is another database's, which
// Follow reports as [ErrOtherDatabase] and never overwrites. A delta that does
// not lead to the right checksum (the replica's sums are not those of its
// pages) is followed by a request for all pages.
//
// GET /wait answers when a transaction is published, or what the primary has at the moment: each server asks its upstream
// with the same request, and then waits until it is there itself.
//
// GET /list names the databases below a directory, and answers when there are
// others: so replicas of a directory follow those that come, and drop those that
// go. A list that is short by mistake would take databases away, so a server
// refuses it while it does not know of all, and a [Directory] has an identity that
// its replicas adopt.
//
// GET /verify compares a replica with its upstream: both read all their pages, the
// upstream sends only checksums of them (GET /stream with sums=1), and what the
// replica gets meanwhile comes from its log, so that both are at one position.
//
// # What comes from outside
//
// Every length from the wire or a file is checked against a limit before memory
// is taken for it: records by type, pages by page size, sums by number of pages
// and as they come. A transaction is never in memory whole; a [TxnReader] holds
// one page. A decoder's error is one of three: io.EOF at the end,
// io.ErrUnexpectedEOF where the bytes end early, [ErrCorrupt] where they are
// wrong.
//
// A server refuses (503) streams beyond MaxStreams, waits beyond MaxWaits, and page checksums beyond
// MaxSums at a time, and gives up on those that come more slowly than minRate.
//
// # Locks and goroutines
//
// Log.mu guards a log; Log.syncing is taken before it. Server.mu guards the
// server's table. None is held while another of these is taken, while a
// Database or Replica is called, or over network I/O. The bytes after a log's
// last record belong to whoever has the TxnWriter, without a lock.
//
// Follow runs in its caller's goroutine, and acknowledges in another, which ends with the session; so does one that reads
// the stream ahead while the replica works. A handler has one more only while a
// snapshot is read or waits for that, for its heartbeats. Server.Close waits for all handlers.
package stream
