// Package fusetest is what the tests of real mounts have in common. Only tests import it.
//
// # What it offers
//
//   - [Pair]: a primary and a replica, mounted by this process and served over HTTP on the loopback device, with
//     recorders that follow both streams. Either side can be taken away and mounted again.
//   - [Recorder]: a follower of a stream that verifies every transaction and keeps the checksum of the state after each.
//   - [Process] and [Child]: SQLite in a process of its own. A test binary that calls [Main] is also the child: it is
//     started again with a variable in its environment, and takes requests on standard input.
//   - [Main]: a TestMain that runs the tests below a directory of their own, and fails if a mount, a process or a file is
//     left over.
//   - [Passthrough]: the one switch between mounts with FUSE passthrough and without.
//
// # Comparing
//
// Databases are compared by their pages' checksums ([stream.Sums]). What SQLite reads on a replica's mount differs from
// the primary in bytes 18 and 19 of page 1 alone: a replica is always in WAL mode. So what a [Child] reads, and
// [Recorder.Seen], have the checksum of page 1 without them ([Versionless]).
//
// # Processes
//
// The mounts are the test process's own, so it never touches files on them: SQLite's locks belong to processes, and a
// process that waits for itself waits for ever. Connections are children, files are handled by commands ([Command]).
package fusetest
