// Package oracle tests weir with random SQL. It has tests only.
//
// # The twins
//
// A generator makes operations from a seed: SQL statements and pragmas for several writers, kills, closes and opens.
// Each operation is carried out twice, in lockstep: on a database on a primary's mount, and on its twin, a plain file
// on the file system below, the oracle. Every writer is a process of its own on either side. What SQLite answers must be
// the same on both sides, errors included.
//
// After each operation the twin's committed state is read from its files: the database, and over it the committed
// frames of its WAL. The primary's stream must lead to that state, by exactly as many transactions as the twin had
// commits that changed a page; so must the stream of a replica, which hands on what it applied; and what readers on the
// replica's mount see must be the same pages. Only bytes 18 and 19 of page 1 differ there: a replica is always in WAL
// mode.
//
// Some processes are killed while a statement runs, where chance decides: within a transaction, which neither side
// commits then, or on the primary's mount alone, after which the twin follows what SQLite finds there.
//
// Nothing in a database's pages is random: SQLite's own random numbers are in the nonces of journals and the salts of
// WALs, and the SQL has no other source than the seed. So no byte is left out of the comparison.
//
// # Seeds and scripts
//
//	go test ./fuse/oracle                                      a few seeds
//	go test ./fuse/oracle -run Oracle -oracle.seed=7           one of them again
//	go test ./fuse/oracle -run Oracle -oracle.duration=2h      as many as fit, of a random start
//	go test ./fuse/oracle -run Oracle -oracle.seed=7 -oracle.reduce=FILE
//
// The last makes a failing seed's operations fewer as long as it fails, and writes what remains to FILE, a script that
// -oracle.script runs. Scripts in testdata are run by every go test. A script has one operation a line: the writer's
// number, a verb and its argument (see type op).
package oracle
