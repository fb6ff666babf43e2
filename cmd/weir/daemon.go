package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"weir/fuse"
	"weir/stream"
)

// busyRetry is how often an unmount is tried again while files are held open.
const busyRetry = 250 * time.Millisecond

// serve mounts conf's databases, serves their stream, runs command (nil: none) and returns once everything is
// unmounted. line is where log goes.
func serve(ctx context.Context, conf *config, command []string, log *slog.Logger, line *bottomLine) error {
	// First of all: a signal that comes while the mounts are made must not leave one behind.
	signals, release := catchSignals(command != nil)
	defer release()
	useProcessors()
	manager := newServiceManager(log)
	conf.warnReadable(log)
	srv, err := listen(conf, log)
	if err != nil {
		return err
	}
	defer srv.close()
	profiles, err := startProfiler(conf.Pprof, log)
	if err != nil {
		return err
	}
	defer profiles.close()
	mounts, err := fuseConfig(conf, srv.stream, log)
	if err != nil {
		return err
	}
	m, err := fuse.Mount(ctx, mounts)
	if err != nil {
		return mountHint(err)
	}
	logMounts(conf, log)
	srv.start(m)
	manager.tell("READY=1", fmt.Sprintf("STATUS=mounted, %d databases", len(conf.DBs)))
	catching := startCatchUp(conf, line, srv.statuses)
	defer catching.close()
	d := &daemon{mounts: m, signals: signals, failed: srv.failed, manager: manager, progress: catching, log: log}
	var code int
	if command == nil {
		err = d.wait(ctx)
	} else {
		code, err = d.runCommand(ctx, command, line.std)
	}
	// The stream goes on while files are held open, for their writes shall arrive.
	return exit(code, errors.Join(err, d.unmount()))
}

// mountHint adds to an error of fuse.Mount what a user can do about it, where the error does not say.
func mountHint(err error) error {
	switch {
	case errors.Is(err, fuse.ErrMayNotMount):
		return hint(err, "%s", rightsOf().hint())
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return hint(err, "run weir as root, or give the directory to the user that weir runs as")
	}
	return err
}

// passAtOnce is not empty in a binary for tests; see [fuse.Config]. The linker sets it.
var passAtOnce string

func fuseConfig(conf *config, by *stream.Server, log *slog.Logger) (c fuse.Config, err error) {
	c = fuse.Config{Logger: log, Passthrough: conf.Passthrough, Instance: by.Instance(), Followers: by.Followers, Guard: guardCommand, PassAtOnce: passAtOnce != ""}
	if c.Name, err = os.Hostname(); err != nil {
		log.Warn("replicas here have no names at their upstreams, only addresses", "err", err)
	}
	for _, db := range conf.DBs {
		var u *fuse.Upstream
		if db.Upstream != nil {
			if u, err = fuseUpstream(db.Upstream, db.String(), log); err != nil {
				return c, err
			}
		}
		if db.Dir == "" {
			c.Databases = append(c.Databases, fuse.Database{Path: db.Path, Upstream: u})
			continue
		}
		p := db.pattern()
		p.Upstream = u
		c.Patterns = append(c.Patterns, p)
	}
	return c, nil
}

func logMounts(conf *config, log *slog.Logger) {
	for _, db := range conf.DBs {
		if db.Upstream == nil {
			log.Info("mounted primary", "db", db.String())
		} else {
			log.Info("mounted replica", "db", db.String(), "upstream", db.Upstream.URL, "upstream-path", db.Upstream.Path)
		}
	}
}

// daemon is a mount from its start to its end. It has two phases, each with its own loop: wait or runCommand, until
// there is a reason to end; then unmount.
type daemon struct {
	mounts   *fuse.Mounts
	signals  <-chan os.Signal
	failed   <-chan error // the server broke down
	manager  *serviceManager
	progress *catchUp
	log      *slog.Logger
	insisted bool // a second signal came before the command ended: don't wait for held files
}

// wait returns when there is a reason to end.
func (d *daemon) wait(ctx context.Context) error {
	for {
		select {
		case sig := <-d.signals:
			if isStop(sig) || sig == syscall.SIGHUP {
				d.log.Info("unmounting", "signal", sig.String())
				return nil
			}
		case err := <-d.failed:
			return fmt.Errorf("serve the stream: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

// runCommand starts command when the mounts are ready, waits for its end and returns its exit code.
func (d *daemon) runCommand(ctx context.Context, command []string, std stdio) (code int, err error) {
	if sig, err := d.awaitReady(ctx); sig != nil || err != nil {
		return killedBy(sig), err
	}
	d.progress.close() // the terminal is the command's
	c, err := startChild(command, std)
	if err != nil {
		return startCode(err), fmt.Errorf("start the command: %w", err)
	}
	d.log.Info("started", "command", command[0], "pid", c.pid())
	for stops := 0; ; {
		select {
		case sig := <-d.signals:
			c.signal(sig)
			if isStop(sig) {
				stops++
			}
			if stops == 2 {
				d.log.Warn("second signal: killing the command", "pid", c.pid())
				d.insisted = true
				c.kill()
			}
		case err := <-d.failed:
			d.log.Error("the stream is no longer served", "error", err)
			d.failed = nil
		case <-ctx.Done():
			c.kill()
			ctx = context.WithoutCancel(ctx)
		case code := <-c.ended:
			d.log.Info("command ended, unmounting", "exit-code", code)
			return code, nil
		}
	}
}

// awaitReady waits until the command may start, or for the signal that ends us before.
func (d *daemon) awaitReady(ctx context.Context) (os.Signal, error) {
	ctx, cancel := context.WithCancel(ctx)
	ready := make(chan error, 1)
	go func() { ready <- d.mounts.Ready(ctx) }()
	defer cancel()
	for {
		select {
		case err := <-ready:
			return nil, err
		case sig := <-d.signals:
			if isStop(sig) || sig == syscall.SIGHUP {
				cancel()
				<-ready
				return sig, nil
			}
		}
	}
}

// unmount ends the mounts: cleanly, waiting as long as files are held open, or lazily if we are told a second time.
func (d *daemon) unmount() error {
	d.progress.close()
	d.manager.tell("STOPPING=1", "STATUS=unmounting")
	for said := ""; ; {
		err := d.tryUnmount()
		var busy *fuse.BusyError
		if !errors.As(err, &busy) {
			if err != nil {
				return errors.Join(err, d.mounts.UnmountLazily())
			}
			return nil
		}
		if who := processes(busy); who != said {
			said = who
			d.manager.tell("STATUS=waiting to unmount " + busy.Path + ": files are held open by " + who)
			d.log.Warn("waiting to unmount: files are held open", "directory", busy.Path, "by", who,
				"hint", "close them, or send the signal again to end anyway")
		}
		if d.insisted || d.stopWithin(busyRetry) {
			return d.unmountLazily(busy)
		}
	}
}

// tryUnmount is one attempt. A signal cuts it short and turns it into a busy one.
func (d *daemon) tryUnmount() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.mounts.Unmount(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case sig := <-d.signals:
			if isStop(sig) {
				d.insisted = true
				cancel()
			}
		}
	}
}

// stopWithin waits for t and returns true if a signal to stop comes meanwhile.
func (d *daemon) stopWithin(t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	for {
		select {
		case sig := <-d.signals:
			if isStop(sig) {
				return true
			}
		case <-timer.C:
			return false
		}
	}
}

func (d *daemon) unmountLazily(busy *fuse.BusyError) error {
	if err := d.mounts.UnmountLazily(); err != nil {
		return err
	}
	return fmt.Errorf("%s was unmounted lazily while held open by %s: what they write from now on fails", busy.Path, processes(busy))
}

// processes names who holds files open.
func processes(busy *fuse.BusyError) string {
	var names []string
	for _, p := range busy.Holders {
		names = append(names, fmt.Sprintf("%s (pid %d)", p.Command, p.PID))
	}
	if len(names) == 0 {
		return "a process that can't be seen from here"
	}
	return strings.Join(names, ", ")
}
