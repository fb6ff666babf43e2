package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"weir/fuse"
)

const configHelp = `usage: weir config check [-config FILE] [-no-expand-env]

Reads a configuration, prints what weir mount would do with it, and says what would keep it from that: files and directories
that are not as they must be, an address that is taken, a machine that can't mount. It mounts an empty directory to find
that out, and nothing else; a weir that runs is left alone. The exit code is 0 where weir mount would work.

  -config FILE       configuration (default: $WEIR_CONFIG, then /etc/weir.yml)
  -no-expand-env     leave $VAR and ${VAR} in the configuration as they are

example:
  weir config check -config weir.yml.new && mv weir.yml.new /etc/weir.yml
`

func runConfig(ctx context.Context, args []string, std stdio) error {
	set := newFlagSet("config")
	var m mountFlags
	set.StringVar(&m.config, "config", "", "")
	set.BoolVar(&m.noExpandEnv, "no-expand-env", false, "")
	if len(args) > 0 && args[0] == "check" {
		args = args[1:]
	} else if len(args) == 0 || args[0] != "-h" && args[0] != "-help" && args[0] != "--help" {
		return usagef("say what to do with the configuration: weir config check")
	}
	if err := parseFlags(set, args, configHelp, std); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return usagef("config check takes no arguments, got %q: name a file with -config", set.Arg(0))
	}
	conf, err := m.load()
	if err != nil {
		return err
	}
	for _, w := range conf.Warnings {
		fmt.Fprintln(std.err, "weir: warning:", w)
	}
	c := &configCheck{conf: conf, out: std.out}
	c.address()
	c.secrets()
	c.directories()
	c.mount(ctx)
	return errors.Join(c.errs...)
}

// configCheck says what a configuration would do, and gathers what is wrong.
type configCheck struct {
	conf *config
	out  io.Writer
	errs []error
}

func (c *configCheck) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

func (c *configCheck) wrong(err error) { c.errs = append(c.errs, err) }

// address tells whether weir could listen.
func (c *configCheck) address() {
	if c.conf.Addr == "" {
		c.say("no addr: replicas can't follow, and weir is asked on this machine only")
		return
	}
	l, err := net.Listen("tcp", c.conf.Addr)
	switch {
	case err == nil:
		c.say("serve at %s", c.conf.Addr)
		l.Close()
	case errors.Is(err, syscall.EADDRINUSE) && c.anyMounted():
		c.say("serve at %s, which is in use now as by the weir that runs", c.conf.Addr)
	default:
		c.wrong(fmt.Errorf("%s: set addr to another address, or end who has it: %w", c.conf.Addr, err))
	}
}

// secrets reads certificates and tokens.
func (c *configCheck) secrets() {
	log := slog.New(slog.DiscardHandler)
	if c.conf.TLS != nil {
		_, err := readServerTLS(*c.conf.TLS, log)
		c.read(err, "  with TLS")
	}
	if len(c.conf.Tokens) > 0 {
		_, err := newAccess(c.conf.Tokens, nil, log)
		c.read(err, "  to who shows one of %d tokens", len(c.conf.Tokens))
	}
	for _, db := range c.conf.DBs {
		if db.Upstream == nil {
			continue
		}
		if _, err := db.Upstream.credentials(log); err != nil {
			c.wrong(db.at.errorf("upstream: %w", err))
		}
	}
}

// read says what was read, or that it could not be.
func (c *configCheck) read(err error, format string, args ...any) {
	if err != nil {
		c.wrong(err)
	} else {
		c.say(format, args...)
	}
}

func (c *configCheck) anyMounted() bool {
	return slices.ContainsFunc(c.conf.DBs, func(db dbConfig) bool { return runs(db.directory()) })
}

// directories says what is mounted where.
func (c *configCheck) directories() {
	seen := make(map[string]bool)
	for _, db := range c.conf.DBs {
		dir := db.directory()
		if !seen[dir] {
			seen[dir] = true
			c.directory(dir)
		}
		c.say("  %s", db.explain())
		if !runs(dir) && db.Dir == "" {
			c.database(db)
		} else if !runs(dir) {
			c.pattern(db)
		}
	}
}

// explain says what an entry of dbs is.
func (db dbConfig) explain() string {
	what := filepath.Base(db.Path)
	if db.Dir != "" {
		what = db.Pattern + ", all that come and go"
		if db.Recursive {
			what += ", in directories below, too"
		}
	}
	switch {
	case db.Upstream == nil && db.Dir == "":
		return what + ": primary"
	case db.Upstream == nil:
		return what + ": primaries"
	case db.Dir == "":
		return fmt.Sprintf("%s: replica of %s at %s", what, db.Upstream.Path, db.Upstream.URL)
	}
	return fmt.Sprintf("%s: replicas of those in %s at %s", what, db.Upstream.Path, db.Upstream.URL)
}

// pattern says what of a directory would be mounted now.
func (c *configCheck) pattern(db dbConfig) {
	found, err := db.pattern().Find()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENOTCONN) {
		return // or was complained of
	}
	if err != nil {
		c.wrong(err)
	}
	n := 0
	for _, path := range found {
		if db.Upstream == nil && !isDatabase(path) {
			c.say("    %s is no SQLite database: it passes through until it is one", path)
			continue
		}
		n++
	}
	c.say("    %d there now", n)
}

// isDatabase tells whether a file is empty, or begins as a database does.
func isDatabase(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(sqliteMagic))
	n, _ := io.ReadFull(f, head)
	return n == 0 || bytes.Equal(head, []byte(sqliteMagic))
}

func (c *configCheck) directory(dir string) {
	fi, err := os.Stat(dir)
	switch {
	case runs(dir):
		c.say("mount over %s, where weir runs now", dir)
	case errors.Is(err, fs.ErrNotExist):
		c.say("make %s and mount over it", dir)
	case errors.Is(err, syscall.ENOTCONN):
		c.say("mount over %s, in the place of a dead mount", dir)
	case err != nil:
		c.wrong(err)
	case !fi.IsDir():
		c.wrong(fmt.Errorf("%s is no directory: weir mounts over the directory of a database", dir))
	case unix.Access(dir, unix.W_OK) != nil:
		c.wrong(fmt.Errorf("%s can't be written to: give it to the user that weir runs as", dir))
	default:
		c.say("mount over %s", dir)
	}
}

// sqliteMagic is how a database begins.
const sqliteMagic = "SQLite format 3\x00"

// database looks at the file, where there is one.
func (c *configCheck) database(db dbConfig) {
	f, err := os.Open(db.Path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENOTCONN) {
		return // or was complained of
	}
	if err != nil {
		c.wrong(err)
		return
	}
	defer f.Close()
	head := make([]byte, len(sqliteMagic))
	n, err := io.ReadFull(f, head)
	switch {
	case errors.Is(err, syscall.EISDIR):
		c.wrong(db.at.errorf("%s is a directory: give the database in it", db.Path))
	case n > 0 && !bytes.Equal(head[:n], []byte(sqliteMagic)):
		c.wrong(db.at.errorf("%s is no SQLite database: give the path of one, or of none yet", db.Path))
	}
}

// mount mounts an empty directory, as weir mount would mount those of the configuration.
func (c *configCheck) mount(ctx context.Context) {
	mode := c.conf.Passthrough
	if mode == fuse.PassthroughAuto {
		mode = fuse.PassthroughOn
	}
	err := tryMount(ctx, mode)
	if errors.Is(err, fuse.ErrNoPassthrough) && c.conf.Passthrough == fuse.PassthroughAuto {
		c.say("without passthrough, which is slower: %v", err)
		mode = fuse.PassthroughOff
		err = tryMount(ctx, mode)
	} else if err == nil && mode == fuse.PassthroughOn {
		c.say("with passthrough, on file systems that have it")
	} else if err == nil {
		c.say("without passthrough, as configured")
	}
	if err != nil {
		c.wrong(mountHint(fmt.Errorf("mount an empty directory: %w", err)))
	}
}

func tryMount(ctx context.Context, mode fuse.Passthrough) error {
	dir, err := os.MkdirTemp("", "weir-check-")
	if err != nil {
		return err
	}
	m, err := fuse.Mount(ctx, fuse.Config{Databases: []fuse.Database{{Path: filepath.Join(dir, "db")}}, Passthrough: mode})
	if err == nil {
		err = m.Unmount(ctx)
	}
	return errors.Join(err, os.RemoveAll(dir))
}
