package main

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// configReader turns YAML nodes into a config. It works on nodes, not on a struct, so that every complaint names a
// line, and collects all of them, so that one run shows everything that is wrong.
type configReader struct {
	file     string
	getenv   func(string) (string, bool) // nil: $VAR stays as it is
	errs     []error
	warnings []string

	known map[string]bool // where not nil: every key that is looked for, as in "dbs[0].path", and whether it is there
}

func (r *configReader) config(root *yaml.Node) *config {
	c := new(config)
	if root == nil || isNull(root) {
		return c
	}
	r.mapping(root, "the configuration", "", map[string]func(*yaml.Node){
		"addr":       func(n *yaml.Node) { c.Addr = r.text(n, "addr", same(checkAddr)) },
		"pprof":      func(n *yaml.Node) { c.Pprof = r.text(n, "pprof", same(checkAddr)) },
		"log-format": func(n *yaml.Node) { c.Log.Format = r.text(n, "log-format", same(checkLogFormat)) },
		"log-level":  func(n *yaml.Node) { c.Log.Level = r.text(n, "log-level", same(checkLogLevel)) },
		"dbs":        func(n *yaml.Node) { c.DBs = r.dbs(n) },
		"tls":        func(n *yaml.Node) { c.TLS = r.serverTLS(n) },
		"tokens":     func(n *yaml.Node) { c.Tokens = r.tokens(n) },
		"passthrough": func(n *yaml.Node) {
			r.text(n, "passthrough", same(func(mode string) error { return c.Passthrough.UnmarshalText([]byte(mode)) }))
		},
	})
	return c
}

func (r *configReader) dbs(n *yaml.Node) (dbs []dbConfig) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode {
		r.errorf(n, "dbs is %s: write a list, one \"- path: /data/db\" for each database", kind(n))
		return nil
	}
	for i, item := range n.Content {
		if db, ok := r.db(item, fmt.Sprintf("dbs[%d]", i)); ok {
			dbs = append(dbs, db)
		}
	}
	return dbs
}

// db reads one entry of dbs; name says which, as in "dbs[0]".
func (r *configReader) db(n *yaml.Node, name string) (dbConfig, bool) {
	db := dbConfig{at: r.at(n)}
	before := len(r.errs)
	seen := r.mapping(n, "an entry of dbs", name, map[string]func(*yaml.Node){
		"path":      func(n *yaml.Node) { db.Path = r.text(n, "path", cleanPath) },
		"dir":       func(n *yaml.Node) { db.Dir = r.text(n, "dir", cleanDir) },
		"pattern":   func(n *yaml.Node) { db.Pattern = r.text(n, "pattern", same(checkMatch)) },
		"recursive": func(n *yaml.Node) { db.Recursive = r.flag(n, "recursive") },
		"watch":     func(n *yaml.Node) { r.watch(n, name) },
		"upstream":  func(n *yaml.Node) { db.Upstream = r.upstream(n, name+".upstream") },
	})
	if len(r.errs) == before {
		r.pathOrDir(n, name, seen)
	}
	if db.Upstream != nil && db.Upstream.Path == "" {
		db.Upstream.Path = cmp.Or(db.Path, db.Dir)
	}
	return db, len(r.errs) == before
}

// pathOrDir tests which keys an entry of dbs has.
func (r *configReader) pathOrDir(n *yaml.Node, name string, seen map[string]bool) {
	switch {
	case !seen["path"] && !seen["dir"]:
		r.errorf(n, "%s has no path: add \"path: /data/db\", or \"dir: /data\" and a pattern", name)
	case seen["path"] && seen["dir"]:
		r.errorf(n, "%s has both path and dir: keep one", name)
	case seen["dir"] && !seen["pattern"]:
		r.errorf(n, "%s has no pattern: add one that the databases' names match, as in \"pattern: '*.db'\"", name)
	case seen["path"] && (seen["pattern"] || seen["recursive"] || seen["watch"]):
		r.errorf(n, "%s has a path, and keys that go with dir: remove pattern, recursive and watch, or give dir in the place of path", name)
	}
}

// watch takes what weir does anyway.
func (r *configReader) watch(n *yaml.Node, name string) {
	if !r.flag(n, "watch") {
		r.warnings = append(r.warnings, fmt.Sprintf("%s: weir always watches a directory: %s.watch is ignored", r.at(n), name))
	}
}

// flag reads true or false.
func (r *configReader) flag(n *yaml.Node, key string) (value bool) {
	n = resolve(n)
	if n.ShortTag() != "!!bool" || n.Decode(&value) != nil {
		r.errorf(n, "%s is %s: write true or false", key, kind(n))
	}
	return value
}

func (r *configReader) upstream(n *yaml.Node, name string) *upstreamConfig {
	u := new(upstreamConfig)
	before := len(r.errs)
	keys := r.tokenKeys(&u.Token)
	keys["url"] = func(n *yaml.Node) { u.URL = r.text(n, "url", cleanURL) }
	path := func(n *yaml.Node) { u.Path = r.text(n, "path", cleanUpstreamPath) }
	keys["path"], keys["dir"] = path, path
	keys["tls"] = func(n *yaml.Node) { u.TLS = *r.tlsFiles(n, name+".tls", "ca") }
	seen := r.mapping(n, "upstream", name, keys)
	r.onlyOneToken(n, name, u.Token)
	if seen["path"] && seen["dir"] {
		r.errorf(n, "%s has both path and dir: keep one", name)
	}
	if len(r.errs) == before && !seen["url"] {
		r.errorf(n, "upstream has no url: add \"url: http://primary:9090\"")
	}
	if u.TLS != (tlsFiles{}) && strings.HasPrefix(u.URL, "http:") {
		r.errorf(n, "%s has tls, but its url is %s: write https://", name, u.URL)
	}
	return u
}

// mapping calls the function of each key that n has and returns which keys it saw. what names n in errors, prefix
// the keys below it in warnings.
func (r *configReader) mapping(n *yaml.Node, what, prefix string, keys map[string]func(*yaml.Node)) map[string]bool {
	n = resolve(n)
	seen := make(map[string]bool)
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "%s is %s: write \"key: value\" lines", what, kind(n))
		return seen
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := keys[key.Value]
		switch {
		case seen[key.Value]:
			r.errorf(key, "%s is given twice: keep one", key.Value)
		case ok:
			read(value)
		default:
			r.warn(key, prefix)
		}
		seen[key.Value] = true
	}
	r.note(prefix, keys, seen)
	return seen
}

// note enters in known which keys there are below prefix, and which the file has.
func (r *configReader) note(prefix string, keys map[string]func(*yaml.Node), seen map[string]bool) {
	if r.known == nil {
		return
	}
	for key := range keys {
		r.known[below(prefix, key)] = seen[key]
	}
}

// text reads a value that is text, with variables expanded, and passes it through clean.
func (r *configReader) text(n *yaml.Node, key string, clean func(string) (string, error)) string {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		r.errorf(n, "%s is %s: %s", key, kind(n), wantText(key, n))
		return ""
	}
	value, err := r.expand(n.Value)
	if err == nil {
		value, err = clean(value)
	}
	if err != nil {
		r.errorf(n, "%w", err)
		return ""
	}
	return value
}

func wantText(key string, n *yaml.Node) string {
	if key == "addr" {
		return "write \":9090\", with the colon and in quotes"
	}
	if n.Kind == yaml.ScalarNode && n.Value != "" {
		return fmt.Sprintf("put it in quotes, as in \"%s\"", n.Value)
	}
	return "give one value"
}

// variable matches $VAR and ${VAR}; any other dollar sign is left as it is.
var variable = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)

// expand replaces variables in a value. This happens after YAML was read, so that a variable's text can't change
// the file's structure, and none is missed for standing in a comment.
func (r *configReader) expand(s string) (string, error) {
	if r.getenv == nil {
		return s, nil
	}
	var missing []string
	s = variable.ReplaceAllStringFunc(s, func(ref string) string {
		name := strings.Trim(ref, "${}")
		value, ok := r.getenv(name)
		if !ok {
			missing = append(missing, "$"+name)
		}
		return value
	})
	if len(missing) > 0 {
		return "", fmt.Errorf("%s is not set in the environment: set it, or pass -no-expand-env to take the dollar sign as it is",
			strings.Join(missing, ", "))
	}
	return s, nil
}

func (r *configReader) at(n *yaml.Node) position { return position{r.file, n.Line} }

func (r *configReader) errorf(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, r.at(n).errorf(format, args...))
}

func (r *configReader) warn(key *yaml.Node, prefix string) {
	r.warnings = append(r.warnings, fmt.Sprintf("%s: weir has no key %s: ignored", r.at(key), below(prefix, key.Value)))
}

// below is the name of a key in the mapping that is at prefix.
func below(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// same makes a clean function of one that only checks.
func same(check func(string) error) func(string) (string, error) {
	return func(s string) (string, error) { return s, check(s) }
}

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// kind says in words what a node holds.
func kind(n *yaml.Node) string {
	switch {
	case isNull(n):
		return "empty"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.ShortTag() == "!!int" || n.ShortTag() == "!!float":
		return "a number"
	case n.ShortTag() == "!!bool":
		return "true or false"
	case n.ShortTag() == "!!str":
		return "text"
	}
	return "of type " + n.Tag
}
