package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const demoHelp = `usage: weir demo [-keep] [-for DURATION]

Runs a primary and a replica on this machine, in a temporary directory, with real mounts: writes to a database on the
primary in several journal modes, shows how far the replica is behind, tries to write on the replica, compares both
databases, and cleans up. Needs root.

  -keep          leave both running until ctrl-C, and print what to type in another terminal
  -for DURATION  how long to write in each journal mode (default: 2s)
`

// demoPatience is how long the demo waits for a thing that takes milliseconds before it says that it failed.
const demoPatience = 20 * time.Second

// demoEvery is the pause between two rows.
const demoEvery = 2 * time.Millisecond

var demoModes = []string{"DELETE", "TRUNCATE", "PERSIST", "WAL"}

// demo is one run: two mounts, a reader on the replica for all of the time, and a writer for each journal mode.
type demo struct {
	show    *screen
	dir     string // temporary, all is in it
	primary *demoNode
	replica *demoNode
	watch   *worker
	wrote   beat // the newest row on the primary
	saw     beat // the newest row on the replica
}

func runDemo(ctx context.Context, args []string, std stdio) error {
	set := newFlagSet("demo")
	keep := set.Bool("keep", false, "")
	length := set.Duration("for", 2*time.Second, "")
	if err := parseFlags(set, args, demoHelp, std); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return usagef("demo takes no arguments, got %q", set.Arg(0))
	}
	if *length <= 0 {
		return usagef("-for is %v: give a positive duration, as in 2s", *length)
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	d := &demo{show: newScreen(std.out)}
	err := d.run(ctx, *length, *keep)
	interrupted := ctx.Err() != nil
	stop() // from here a signal ends us, should the clean-up hang
	if cleanErr := d.cleanUp(); cleanErr != nil {
		return errors.Join(err, cleanErr)
	}
	if err == nil || interrupted {
		d.show.done("unmounted both, nothing is left")
	}
	if interrupted {
		return exit(killedBy(syscall.SIGINT), nil)
	}
	return err
}

// run is the demo from its start to the comparison.
func (d *demo) run(ctx context.Context, length time.Duration, keep bool) error {
	steps := []func(context.Context) error{d.start, d.createDatabase, d.startReplica}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := d.writeInAllModes(ctx, length); err != nil {
		return err
	}
	if err := d.refuseWrites(ctx); err != nil {
		return err
	}
	if err := d.compare(ctx); err != nil {
		return err
	}
	if keep {
		return d.keep(ctx)
	}
	return nil
}

// start mounts the primary, over an empty directory.
func (d *demo) start(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "weir-demo-"); err != nil {
		return err
	}
	addr, err := freeAddr("127.0.0.1")
	if err != nil {
		return err
	}
	d.show.line("%s in %s", d.show.paint(bold, "Weir demo: a primary and a replica on this machine,"), d.dir)
	db := filepath.Join(d.dir, "primary", "db")
	d.primary, err = startDemoNode(ctx, d.dir, "primary", fmt.Sprintf("addr: %q\ndbs:\n  - path: %s\n", addr, db))
	if err != nil {
		return err
	}
	d.primary.addr = addr
	d.show.done("mounted the primary over %s, serving %s", filepath.Dir(db), addr)
	return nil
}

func (d *demo) createDatabase(ctx context.Context) error {
	if err := runJob(ctx, "exec", d.primary.db, demoSchema); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	info, err := os.Stat(d.primary.db)
	if err != nil {
		return err
	}
	d.show.done("created a database there, %s kB with 5,000 rows", thousands(info.Size()/1000))
	return nil
}

// startReplica mounts the replica and waits for its first snapshot.
func (d *demo) startReplica(ctx context.Context) (err error) {
	db := filepath.Join(d.dir, "replica", "db")
	d.replica, err = startDemoNode(ctx, d.dir, "replica", fmt.Sprintf(
		"dbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n", db, d.primary.addr, d.primary.db))
	if err != nil {
		return err
	}
	mounted := time.Now()
	if err := d.replica.until(ctx, "the first snapshot", func() bool {
		_, err := os.Stat(db)
		return err == nil
	}); err != nil {
		return err
	}
	d.show.done("mounted the replica over %s, read-only; the database was there after %s", filepath.Dir(db), milliseconds(time.Since(mounted)))
	d.watch, err = startWorker("watch", db)
	return err
}

// refuseWrites tries to write on the replica, with SQLite and without.
func (d *demo) refuseWrites(ctx context.Context) error {
	err := runJob(ctx, "exec", d.replica.db, "DELETE FROM city")
	if err == nil || !strings.Contains(err.Error(), "attempt to write a readonly database") {
		return fmt.Errorf("a write on the replica should be refused as \"attempt to write a readonly database\", got: %v", err)
	}
	d.show.done("DELETE on the replica: %s", err)
	f, err := os.OpenFile(d.replica.db, os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	if !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("opening the replica for writing should be refused with EROFS, got: %v", err)
	}
	d.show.done("opening its file for writing: %s", syscall.EROFS)
	return nil
}

// compare checks both databases and compares them page by page.
func (d *demo) compare(ctx context.Context) error {
	images := make(map[*demoNode][]byte)
	for _, n := range []*demoNode{d.primary, d.replica} {
		file := filepath.Join(d.dir, n.name+".image")
		if err := runJob(ctx, "check", n.db, file); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		image, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		images[n] = image
	}
	pages, err := comparePages(images[d.primary], images[d.replica])
	if err != nil {
		return fmt.Errorf("primary and replica differ: %w", err)
	}
	d.show.done("integrity_check says ok on both, and all %s pages are the same", thousands(int64(pages)))
	return nil
}

// keep writes a row every second until ctx ends.
func (d *demo) keep(ctx context.Context) error {
	w, err := startWorker("write", d.primary.db, "WAL", "1s", "0s")
	if err != nil {
		return err
	}
	defer w.stop()
	// The first row is there before anything is typed: opening a database in WAL mode locks it for a moment.
	for before := d.wrote; d.wrote == before && err == nil; {
		err = d.step(ctx, w, new(lags), "row")
	}
	d.show.line("\nBoth keep running, with a new row every second. In another terminal, type:\n")
	d.show.line("  sqlite3 %s \"INSERT INTO beat (note) VALUES ('typed by me')\"", d.primary.db)
	d.show.line("  sqlite3 %s \"SELECT id, note FROM beat ORDER BY id DESC LIMIT 3\"", d.replica.db)
	d.show.line("  sqlite3 %s \"DELETE FROM beat\"", d.replica.db)
	d.show.line("  curl http://%s/   (or open it in a browser)\n", d.primary.addr)
	d.show.line("(sqlite3 is in Debian's package of that name.) ctrl-C ends it and cleans up.\n")
	for err == nil && ctx.Err() == nil {
		err = d.step(ctx, w, new(lags), "row")
	}
	return err
}

// cleanUp ends what runs and removes the directory, unless something is still mounted in it.
func (d *demo) cleanUp() error {
	d.show.clear()
	if d.watch != nil {
		d.watch.stop()
	}
	var errs []error
	for _, n := range []*demoNode{d.replica, d.primary} {
		if n != nil {
			errs = append(errs, n.stop())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up (%s stays): %w", d.dir, err)
	}
	if d.dir == "" {
		return nil
	}
	return os.RemoveAll(d.dir)
}
