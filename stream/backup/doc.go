// Package backup makes database files and LTX files of what a weir serves or has in its log: a [Copy] of a live
// database, an [Export] of its transactions, a [Restore] of what it was. It mounts nothing and changes nothing of a
// database that weir has.
//
// A database file is put together in an image, which knows the checksum of each of its pages. It becomes the [Output]
// only when the rolling checksum over them is the one that the position says. An Output has another name until it is
// complete and synced, so that no half file is ever found under the one that was asked for.
package backup
