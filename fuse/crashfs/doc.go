// Package crashfs is a file system that can tell what a crash leaves of it. It records every operation in order, and makes
// from the record the state after any of them: all of it, as the death of a process leaves it, or what a power failure
// may leave, by a seed. Only tests import it.
//
// # Use
//
//	rec, err := crashfs.Mount(at, dir, nil, nil)   // files at "at", the record in "dir"
//	...                                            // processes work below "at"
//	im, err := rec.PowerLoss(n, crashfs.RandomLoss(seed), imageDir)
//	again, err := crashfs.Mount(at2, dir2, im, nil)
//
// An [Image] is mounted by the same file system, for inode numbers and times are part of what a crash leaves: who tells by
// them whether a file was changed must not be led astray. They are the record's own, and times have the granularity
// of a kernel's timer tick, as on ext4 before Linux 6.13. [Image.CopyTo] makes ordinary files. [Order] is a
// golden text, for tests of the order of durable steps.
//
// The file system has files, directories and hard links, shared mappings, and locks, which the kernel keeps. The kernel's
// cache writes through, so that each write(2) is a recorded operation; what was written by a mapping is recorded when
// the kernel writes it back. A failure can be injected into each operation and read. A failed operation does and
// records nothing, and a failed sync keeps nothing. A write can also end half-way ([Short]).
//
// The record is bounded by the disk: what was written is in a file, and an operation takes some hundred bytes of memory.
//
// # What a power failure leaves
//
// Fsync of a file keeps its contents, size, owner, mode and times; fdatasync contents and size; fsync of a directory the
// names in it (https://pubs.opengroup.org/onlinepubs/9799919799/functions/fsync.html, fsync(2)). Of all else:
//
//   - Contents. A file's page is written back at any time, or not, and a disk writes sectors in any order. So each unit
//     of 512 or 4096 bytes holds what it held after some of the writes to it, independently of all others. The page
//     cache is one: a later write to a unit is never there without an earlier one.
//   - A cut. It is a change of the size: where that is not there, what was cut is as it was.
//   - What was added to a file and not written holds zeros (delayed allocation and unwritten extents, as ext4, XFS
//     and btrfs have them), or anything (ext4 with data=writeback, which SQLite assumes at worst, too:
//     https://sqlite.org/atomiccommit.html, section 2).
//   - Names, sizes and times. A [Journaled] file system (ext4, XFS) writes its changes in one order, so that a beginning
//     of them survives, and a sync that writes one of them writes all before it. A [Posix] one keeps each name or
//     not, and each inode as it was at some time: that is btrfs, whose fsync writes the one file's part of the tree
//     log, and then some, for btrfs keeps the names of a synced file. A rename is one step in both.
//   - So a name can be there without contents, the times of a write without the write, and a write without its times.
//
// # Deadlocks
//
// The process that mounts serves the mount. It may work with files below it like any other, since requests are served by
// other threads, but it must neither map one nor end with one open. What it serves may be mounted over by another
// process (weir mount), which then must have ended before Close.
package crashfs
