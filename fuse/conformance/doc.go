// Package conformance runs what SQLite can do on a primary's mount with a replica following. It has tests only.
//
// # The matrix
//
// Each subtest is one thing that an app may do: a journal mode or a switch of it, a locking mode, a checkpoint, VACUUM, a
// process killed in the middle of a transaction, mv over the database. After every statement three things are compared
// with the pages that SQLite itself reads on the primary's mount:
//
//   - what the primary's stream leads to. A recorder follows it and verifies every transaction's state.
//   - what the replica's stream leads to: the same transactions, position for position.
//   - what SQLite reads on the replica's mount. Only bytes 18 and 19 of page 1 differ there.
//
// In the middle of a transaction the last committed pages are what counts. Where it is sure how many transactions a
// statement is, the number is compared too. What weir warns of fails a test, unless the test says that it must.
//
// # SQLite's own programs
//
// mptester, threadtest3, kvtest and speedtest1 are built from the source package of the machine's sqlite3, which apt-get
// fetches with the machine's own mirrors, and run with the database on the primary's mount. They must end as they do on
// the file system below, and the replica must have the primary's pages afterwards. The built programs are kept in the
// user's cache directory.
//
//	go test ./fuse/conformance                                  the matrix
//	go test ./fuse/conformance -conformance.programs            the programs too, short runs: a minute
//	go test ./fuse/conformance -run Program -conformance.programs -conformance.long -timeout 1h
//	WEIR_PASSTHROUGH=off go test ./fuse/conformance             the same without FUSE passthrough
//
// # Processes
//
// The mounts are this process's own, so it never touches files on them: SQLite's locks belong to processes, and a
// process that waits for itself waits for ever. Connections are children (see conn), files are handled by cp, mv and rm.
package conformance
