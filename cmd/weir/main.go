// Weir replicates SQLite databases live, as a FUSE file system that is mounted over each database's directory.
//
//	weir mount      mount the databases, capture or follow, until a signal comes
//	weir demo       a primary and a replica on this machine, watched live
//	weir status     how each database stands, and who follows it
//	weir snapshot   a copy of a live database
//	weir log        the transactions of a database, listed or exported
//	weir restore    a database as it was
//	weir wait       until a replica has a transaction
//	weir verify     whether a replica has the pages of its upstream
//	weir config     whether a configuration would work
//	weir completion, weir man
//	weir bench      what weir costs on this machine's disk
//	weir version
//	weir help [COMMAND]
//
// This package is the edge: it reads flags and the configuration (config.go, yaml.go), starts what package fuse and
// package stream provide (mount.go, server.go, control.go), asks a daemon that runs (ask.go), and turns signals and the end of a started command into an unmount
// (daemon.go, child.go). The mounts and what happens in them are package fuse's.
//
// # Exit codes
//
// 0 done; 1 something failed; 2 wrong usage; 3 what was asked about does not
// hold: a database is not healthy (weir status), a transaction has not come in time (weir wait), pages differ
// (weir verify). weir mount ... -- CMD ends with CMD's
// exit code, 128+n where signal n killed it, 126 where it can't be run and 127 where it is not found, as a shell does.
//
// # Output
//
// An error is one line "weir: ..." that names the database, file or address, followed by a line "hint: ..." where
// there is something to do that the error itself does not say. Logs go to standard error through log/slog; standard
// output belongs to the command that is started.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
