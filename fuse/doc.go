// Package fuse mounts weir over the directories that hold databases.
//
// # Structure
//
// [Mount] takes databases, groups them by directory and mounts each directory
// in place. The daemon opens a directory before it mounts over it and keeps
// working through that descriptor, so the files stay ordinary files: stop
// weir, and they are what they were. Weir's own files are in .weir in the
// directory; the mount hides them. What is not a database of ours passes
// through.
//
// The nodes are go-fuse's loopback nodes. A method of [node] or of a file
// translates its arguments, makes one call to the pure middle
// (internal/capture on a primary, internal/apply on a replica) and converts
// one error. What SQLite's files mean is decided there, by the role that
// internal/dbfile reads off a file's name.
//
// A few files in a directory are made up when they are read: see virtual.go.
//
// # Databases that come and go
//
// A directory may have a [Pattern] instead of databases: then each file whose name
// matches is one, by its path below the directory. On a primary all that happens
// to a file happens through the mount, so a database is captured (it joins) while
// the request is served that makes it one: its creation, empty; a rename; its cut
// to nothing; the last close of a file that was no database before. It is served
// when it has a page. Where it is removed the log keeps what it was, and goes on
// with the next file of that name: followers are told by the list of databases
// ([stream.Directory]), and not by an empty transaction that they would apply
// before. It is kept for a day.
//
// An open file may get another name. So the handle of such a file knows no
// database: it finds its own for each write, and again under that database's
// mutex. A rename holds the mutexes of both names' databases, and says the file's
// new name before the tree of nodes has it. What is written to a file that is
// nobody's is written with the directory's moving lock held for reading; a rename,
// and what else makes a file a database, holds it for writing. Since its role may
// change while it is open, such a file is never passed through, whatever it is
// called, unless as a companion; and no rename makes one of a companion.
//
// A replica of a directory adds and drops databases as its upstream's list says.
// One that is dropped is hidden, closed and moved to .weir. A list is not taken
// from another directory, as its identity says, which replicas adopt.
//
// # Caching and passthrough
//
// A primary's database is cached by the kernel and every write to it comes
// here, unless it is in WAL mode and written much: then it is passed through, as
// internal/capture says, which makes checkpoints cheaper by a request for each
// page. All other files are passed through to the backing file by the kernel
// (FUSE passthrough): the WAL, whose writes inotify reports on the backing
// file, the journal, and the wal-index, which must be one piece of memory for
// all. An inode is either cached or passed through at one time, so the role
// decides for all handles alike, and for a database the moment at which none is
// open, of the daemon's neither: see ioMode. On a replica everything is passed
// through.
//
// Where the kernel or the rights for passthrough are missing, everything is
// cached. On a primary every write comes here anyway. A replica's files are
// written below the mount, and the cache is made to follow each write; the
// wal-index, which readers have mapped, is stored into it in place. Reads wait for no lock of the middle, so a
// notification that has to wait for one in flight does not wait for long. Their
// sizes change through the private mount: the kernel has those in order with what
// it is told of a file otherwise, which may be late.
//
// POSIX locks stay in the kernel, on the mount's inodes: SQLite's locking
// costs no round trip, and the daemon does not see it. Where capture must know
// whether an app is writing (journal_mode=OFF and MEMORY), it asks: the daemon
// has each database of a primary open through a private mount of the same file
// system, attached nowhere, and tests its locks there with F_OFD_GETLK.
//
// # Requests
//
// Each request that an app waits for costs it some 20 microseconds. So the kernel
// is told what it need not ask: extended attributes are not supported, closing a
// WAL or journal needs nothing, attributes last until they change. What is left
// of a transaction are SQLite's own writes and syncs, and what follows from the
// creation and removal of a journal; TestRequests counts them. The kernel could
// keep directories, too, and open them by itself; but a listing that is read in
// parts by several opens misses entries where the file system below numbers them
// for each open (overlayfs).
//
// # The read-only mount of a replica
//
// The file system is writable, and mounted twice, where the daemon may mount:
// once privately, attached nowhere, and once read-only on the directory. Through the private one the
// daemon takes locks on the mount's own wal-index, where readers' locks are,
// because locks on the backing file are other locks. It holds two for as long
// as it lives: DMS shared, which tells SQLite that the wal-index can be
// trusted, and WRITE, which tells a reader that meets a half-written header
// to try again.
//
// # Through fusermount3
//
// A process that may not mount has fusermount3 do it ([fusermount]; else
// [byRight]). Then there is one mount of each file system, attached from the
// beginning, with the gate closed, and it is writable: the private one is a
// descriptor of its root. What the kernel does for two mounts is done here.
//
// On a replica the file system itself refuses what would change something, of all
// but the daemon's threads ([refusing]).
//
// The daemon has files of its one mount open, so to the kernel it is always busy.
// It is taken away lazily, when apps have nothing open: the file system counts
// their handles, and has them wait, as they open more, until the mount is gone
// ([handles]). Then they are answered ESTALE, for which the kernel walks the path
// again, and finds what was below. Working directories are no handles; they are
// looked for under /proc.
//
// Nothing can look below a mount, or attach one below another. So a hot journal is
// rolled back through the mount, while the gate is closed and no database is
// captured yet: the one I/O of the daemon through its own mount, when nobody
// else has anything open there. And a dead mount is taken away before the new one is
// made. Who opens a database in between, or did while the mount was away, has it
// open below: the gate is closed, so they only get fewer, and the start waits a
// while for them to close it before it fails. If it fails, nothing hides the files
// any more. Databases that other users' processes have open are not seen.
//
// A directory in another one can't be mounted: fusermount3 would wait at the
// other's gate.
//
// # Deadlocks
//
// 1. The daemon does no data I/O through its own mounts. It opens there, by the
// private mount, one wal-index for each replica, to lock it, before readers
// come; a replica's files, to change their sizes; each database of a primary, to
// ask for its locks; and a wal-index for as long as it takes to ask who holds its
// read-marks. A replica's sizes change with the middle's locks held. The kernel
// locks the inode meanwhile, and pages that readers wait for; requests of none of
// them wait for the middle. A replica may come while readers of others are served:
// the directory's lock, for which a path walk waits, is held for a look-up there,
// which waits for nothing, or for a notification.
//
// 2. A process that ends with files of its own mount open sends FLUSH to
// itself and never ends. So handles of a replica, and those that a primary's
// daemon opens, answer FOPEN_NOFLUSH.
//
// 3. A primary's database is opened within the request of an app that writes
// it, which holds the inode's lock and a page's. So that open must ask for
// neither: it is answered FOPEN_KEEP_CACHE, or the kernel would wait for the
// page to drop it (of a file that is passed through it caches none). node.Open
// tells it by the thread that opens.
//
// 4. An app that creates, removes or renames a file holds the directory's lock,
// for which a path walk may wait, and the request may wait for capture's mutex.
// So nothing is opened in such a request, or with that mutex held. The question
// for a lock is asked with it held: it waits for nothing.
//
// 5. While requests of apps are served no other path under a mount is walked by
// the daemon.
//
// # When the daemon dies
//
// The mount stays, dead: opens and syncs fail with ENOTCONN. But files that
// are passed through can still be read and written by who has them open. A
// new daemon that replaced the mount would give others the same files under
// other locks. So a stale mount is replaced only when no process has files of
// it open; [BusyError] names those that do.
//
// # Start
//
// Nobody may open a database below the mount, unseen, while weir starts. So a
// directory is mounted before its databases are opened, with a gate: apps wait
// in the file system's root until all databases of the daemon are open, and get
// an error if that fails; then the mount is taken away. The gate is in the
// question for the root's attributes, which the kernel asks before it looks up
// a name there. It holds no lock then: an app that waited within a look-up or a
// creation would have the daemon wait, which looks up names, too. The daemon
// passes, and is told by its threads.
//
// The mount of a dead daemon stays until the databases are open, and hides the
// files as well as ours would. The daemon looks below it by a thread that has a
// mount namespace of its own and takes the dead mount away there; the same
// thread has SQLite roll a hot journal back, by path. Then the mount is attached
// below the dead one (MOVE_MOUNT_BENEATH, Linux 6.5), which is taken away. If
// the start fails before that, the dead mount is still there.
//
// A start asks no other FUSE file system, which may not answer: who has files
// open is compared by what the kernel knows, and whether the daemon of a mount
// that is in the way lives by the lock in .weir first, and within a time limit
// then.
//
// A daemon that is killed, or crashes, while a thread of it waits for an answer
// of its own mount would never end: the thread waits in the kernel for a server
// that is the process itself, and the process can't close the server's
// descriptor before all its threads have ended. Notifications wait in the same
// way for apps that wait for the server. So a guard watches each daemon: a
// process of its own that aborts the daemon's file systems, by files of the
// fusectl file system that it has open for each of them, when the daemon's
// descriptors are closed, or when it finds that the daemon has been killed. The
// kernel has it look by a signal, when a thread of the daemon ends that lives as
// long as the daemon.
//
// # Lock order
//
// The lock under which files of the own mount are opened; a directory's moving
// lock; the directory's, which guards its lists of databases; a database's mutex in the middle, then the
// log's. Nothing here holds a lock while it calls the middle, and the middle's
// question for locks takes none.
package fuse
