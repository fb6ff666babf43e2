package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"weir/fuse"
)

// defaultConfigPath is read when neither -config nor $WEIR_CONFIG names a file.
const defaultConfigPath = "/etc/weir.yml"

// maxConfigSize bounds what is read of a configuration file, in bytes.
const maxConfigSize = 1 << 20

// config is what a configuration file, or the command line in its stead, asks for.
type config struct {
	Addr        string        // where the stream is served; empty: not served
	TLS         *tlsFiles     // what is served with; nil: without
	Tokens      []tokenConfig // who may read what is served; none: all
	Pprof       string        // where profiles are served; empty: not served
	Log         logOptions
	Passthrough fuse.Passthrough
	DBs         []dbConfig
	Warnings    []string // one for each key that weir does not have: "file:line: ..."
}

// dbConfig is one entry of dbs.
type dbConfig struct {
	Path      string          // absolute and clean; "" where Dir is set
	Dir       string          // the same of a directory whose databases come and go
	Pattern   string          // what their names match
	Recursive bool            // in directories below, too
	Upstream  *upstreamConfig // nil on a primary
	at        position        // for errors
}

// directory is what is mounted for db.
func (db dbConfig) directory() string {
	if db.Dir != "" {
		return db.Dir
	}
	return filepath.Dir(db.Path)
}

// String is the database's path, or the pattern in its directory.
func (db dbConfig) String() string {
	if db.Dir == "" {
		return db.Path
	}
	return db.pattern().String()
}

func (db dbConfig) pattern() fuse.Pattern {
	return fuse.Pattern{Dir: db.Dir, Match: db.Pattern, Recursive: db.Recursive}
}

// upstreamConfig is what a replica follows.
type upstreamConfig struct {
	URL  string // http or https, without a trailing slash
	Path string // the database's path at the upstream, or the directory's

	TLS   tlsFiles
	Token tokenSource // what is shown to it
}

// position is where in a file a value stands. A value from the command line has no line.
type position struct {
	file string
	line int
}

func (p position) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", p, fmt.Errorf(format, args...))
}

func (p position) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// loadConfig reads and checks the configuration file at path. getenv is nil where $VAR is to be left alone.
func loadConfig(path string, getenv func(string) (string, bool)) (*config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfigSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > maxConfigSize {
		return nil, fmt.Errorf("%s is larger than %d bytes: this is not a configuration file", path, maxConfigSize)
	}
	return parseConfig(path, data, getenv)
}

// parseConfig reads a configuration from data; file is its name in messages.
func parseConfig(file string, data []byte, getenv func(string) (string, bool)) (*config, error) {
	root, err := parseYAML(file, data)
	if err != nil {
		return nil, err
	}
	r := &configReader{file: file, getenv: getenv}
	c := r.config(root)
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	c.Warnings = r.warnings
	if len(c.DBs) == 0 {
		return nil, position{file: file}.errorf("no database to mount: add one as\n\tdbs:\n\t  - path: /data/db")
	}
	return c, c.check()
}

// parseYAML returns the document's root node, nil for an empty document.
func parseYAML(file string, data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, next yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, yamlError(file, err)
	}
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, position{file, next.Line}.errorf("a second YAML document: put everything into one, without a line of ---")
	}
	return doc.Content[0], nil
}

// yamlError rewrites the YAML package's "yaml: line 3: did not find ..." as "file:3: did not find ...".
func yamlError(file string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if line, what, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(line); err == nil {
				return position{file, n}.errorf("not valid YAML near this line: %s", what)
			}
		}
	}
	return position{file: file}.errorf("not valid YAML: %s", text)
}

// check tests what concerns more than one value.
func (c *config) check() error {
	var errs []error
	listed := make(map[string]position)
	roles := make(map[string]dbConfig) // the first entry of each directory
	for _, db := range c.DBs {
		if first, ok := listed[db.String()]; ok {
			errs = append(errs, db.at.errorf("%s is listed twice (first at %s): remove one of the two", db, first))
			continue
		}
		listed[db.String()] = db.at
		dir := db.directory()
		first, ok := roles[dir]
		if !ok {
			roles[dir] = db
		} else if (first.Upstream == nil) != (db.Upstream == nil) {
			errs = append(errs, db.at.errorf("%s holds a primary and a replica (%s at %s): a directory is mounted either writable or read-only, move one of them to a directory of its own",
				dir, filepath.Base(first.String()), first.at))
		}
	}
	return errors.Join(append(errs, c.checkPatterns(), c.checkFiles())...)
}

// checkPatterns tests that a database is found by one entry only, and the databases of a directory at one upstream.
func (c *config) checkPatterns() error {
	var errs []error
	for i, db := range c.DBs {
		if db.Dir == "" {
			continue
		}
		for j, other := range c.DBs {
			switch {
			case db.Recursive && strings.HasPrefix(other.directory(), db.Dir+"/"):
				errs = append(errs, other.at.errorf("%s is below %s, which is recursive (at %s): remove one of the two, or \"recursive\"", other, db.Dir, db.at))
			case j < i && other.Dir == db.Dir && db.Upstream != nil && other.Upstream != nil && *other.Upstream != *db.Upstream:
				errs = append(errs, db.at.errorf("%s has two upstreams (another at %s): give all its patterns the same", db.Dir, other.at))
			}
		}
	}
	return errors.Join(errs...)
}

// primaries counts the databases that are written here.
func (c *config) primaries() (n int) {
	for _, db := range c.DBs {
		if db.Upstream == nil {
			n++
		}
	}
	return n
}
