package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"weir/fuse"
)

const mountHelp = `usage: weir mount [-config FILE] [-no-expand-env] [-addr ADDR] [LOG FLAGS] [-- CMD ARGS]
       weir mount [-upstream URL] [-addr ADDR] [TLS FLAGS] [-token-file FILE] [LOG FLAGS] DB [-- CMD ARGS]

Mounts over the directory of each database. On a primary every committed transaction is captured and served to
replicas; on a replica the directory is read-only and follows its upstream. SIGINT and SIGTERM unmount, waiting while
files are held open; a second signal ends it anyway.

  -config FILE       configuration (default: $WEIR_CONFIG, then /etc/weir.yml)
  -no-expand-env     leave $VAR and ${VAR} in the configuration as they are
  -addr ADDR         serve the stream here (default for a primary given as DB: ":9090"; "" serves nothing)
  -upstream URL      follow the database of the same path at this weir
` + secureHelp + `  -passthrough MODE  have the kernel read and write files by itself: auto, where it can; on, or fail; off, slower
                     (default: $WEIR_PASSTHROUGH, then the configuration, then auto)
  -pprof ADDR        serve Go's profiles at http://ADDR/debug/pprof/, to whoever gets there
  -log-format FORMAT text or json (default: as the configuration says, then text)
  -log-level LEVEL   trace, debug, info, warn or error (default: as the configuration says, then info)
  -trace             the same as -log-level trace: every FUSE request and every captured transaction

With -- CMD the command is started once the mounts are up (a replica's: once its first snapshot is there), gets the
signals, and its exit code becomes weir's. A service manager (systemd's Type=notify) is told when the mounts are up.

examples:
  weir mount /data/db
  weir mount -upstream http://primary:9090 /data/db
  weir mount -tls-cert host.crt -tls-key host.key -token-file token /data/db
  weir mount -upstream https://primary:9090 -token-file token /data/db
  weir mount -config /etc/weir.yml -- myapp -listen :8080
`

// defaultAddr is where a primary serves when no configuration says.
const defaultAddr = ":9090"

// mountFlags are the flags of weir mount.
type mountFlags struct {
	config      string
	noExpandEnv bool
	addr        string
	addrGiven   bool
	upstream    string
	pprof       string
	secure      secureFlags
	passthrough *fuse.Passthrough // nil: as the configuration says
	log         logOptions
	db          string   // empty: use a configuration file
	command     []string // after --
}

func runMount(ctx context.Context, args []string, std stdio) error {
	flags, err := parseMountFlags(args, std)
	if err != nil {
		return err
	}
	conf, err := flags.load()
	if err != nil {
		return err
	}
	line := &bottomLine{std: std}
	log := flags.log.or(conf.Log).logger(line)
	for _, w := range conf.Warnings {
		log.Warn(w)
	}
	return serve(ctx, conf, flags.command, log, line)
}

func parseMountFlags(args []string, std stdio) (*mountFlags, error) {
	m := new(mountFlags)
	// The flag package would drop the "--" that separates DB from CMD.
	if i := slices.Index(args, "--"); i >= 0 {
		args, m.command = args[:i], args[i+1:]
		if len(m.command) == 0 {
			return nil, usagef("there is no command after --")
		}
	}
	set := newFlagSet("mount")
	set.StringVar(&m.config, "config", "", "")
	set.BoolVar(&m.noExpandEnv, "no-expand-env", false, "")
	set.StringVar(&m.addr, "addr", "", "")
	set.StringVar(&m.upstream, "upstream", "", "")
	set.StringVar(&m.pprof, "pprof", "", "")
	m.secure.flags(set)
	set.Func("passthrough", "", m.setPassthrough)
	set.Func("log-format", "", func(s string) error { m.log.Format = s; return checkLogFormat(s) })
	set.Func("log-level", "", func(s string) error { m.log.Level = s; return checkLogLevel(s) })
	trace := set.Bool("trace", false, "")
	if err := parseFlags(set, args, mountHelp, std); err != nil {
		return nil, err
	}
	if *trace {
		m.log.Level = "trace"
	}
	set.Visit(func(f *flag.Flag) { m.addrGiven = m.addrGiven || f.Name == "addr" })
	if set.NArg() > 0 {
		m.db = set.Arg(0)
	}
	return m, m.check(set.Args())
}

func (m *mountFlags) check(args []string) error {
	switch {
	case len(args) > 1:
		return usagef("one database at most, got %q after it: flags stand before the database, a command behind --, several databases in a configuration file", args[1])
	case m.db != "" && m.config != "":
		return usagef("-config and a database (%s) exclude each other: leave one out", m.db)
	case m.db == "" && m.upstream != "":
		return usagef("-upstream needs the database to replicate, as in: weir mount -upstream %s /data/db", m.upstream)
	case m.addr != "":
		if err := checkAddr(m.addr); err != nil {
			return usageError{err}
		}
	}
	if m.pprof != "" {
		if err := checkAddr(m.pprof); err != nil {
			return usageError{fmt.Errorf("-pprof: %w", err)}
		}
	}
	return m.secure.checkMount(m.db, m.upstream)
}

// load returns the configuration that the flags name or spell out.
func (m *mountFlags) load() (*config, error) {
	conf, err := m.fromArguments()
	if m.db == "" {
		conf, err = m.fromFile()
	}
	if err != nil {
		return nil, err
	}
	if m.addrGiven {
		conf.Addr = m.addr
	}
	if m.pprof != "" {
		conf.Pprof = m.pprof
	}
	if m.passthrough == nil {
		if mode := os.Getenv("WEIR_PASSTHROUGH"); mode != "" {
			if err := m.setPassthrough(mode); err != nil {
				return nil, fmt.Errorf("$WEIR_PASSTHROUGH: %w", err)
			}
		}
	}
	if m.passthrough != nil {
		conf.Passthrough = *m.passthrough
	}
	return conf, nil
}

func (m *mountFlags) setPassthrough(mode string) error {
	m.passthrough = new(fuse.Passthrough)
	return m.passthrough.UnmarshalText([]byte(mode))
}

func (m *mountFlags) fromArguments() (*config, error) {
	if m.db == "" {
		return nil, nil
	}
	path, err := cleanPath(m.db)
	if err != nil {
		return nil, usageError{err}
	}
	db := dbConfig{Path: path, at: position{file: "command line"}}
	conf := new(config)
	conf.TLS, conf.Tokens = m.secure.server()
	if m.upstream == "" {
		conf.Addr, conf.DBs = defaultAddr, []dbConfig{db}
		return conf, conf.check()
	}
	url, err := cleanURL(m.upstream)
	if err != nil {
		return nil, usageError{err}
	}
	db.Upstream = &upstreamConfig{URL: url, Path: path}
	db.Upstream.TLS, db.Upstream.Token = m.secure.upstream(url)
	conf.DBs = []dbConfig{db}
	return conf, conf.check()
}

func (m *mountFlags) fromFile() (*config, error) {
	path := m.config
	if path == "" {
		path = os.Getenv("WEIR_CONFIG")
	}
	if path == "" {
		path = defaultConfigPath
	}
	getenv := os.LookupEnv
	if m.noExpandEnv {
		getenv = nil
	}
	conf, err := loadConfig(path, getenv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint(err, "write %s, name another file with -config, or give a database: weir mount /data/db", path)
	}
	if err != nil {
		return nil, err
	}
	if conf.Addr == "" && !m.addrGiven && conf.primaries() > 0 {
		conf.Warnings = append(conf.Warnings, fmt.Sprintf("%s has no addr: no replica can follow; add \"addr: ':9090'\"", path))
	}
	return conf, nil
}
