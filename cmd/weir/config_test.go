package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"weir/fuse"
)

// env is an environment for tests.
func env(pairs ...string) func(string) (string, bool) {
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) (string, bool) {
		v, ok := m[name]
		return v, ok
	}
}

// plainDBs leaves out where the entries stand.
func plainDBs(c *config) []dbConfig {
	dbs := append([]dbConfig(nil), c.DBs...)
	for i := range dbs {
		dbs[i].at = position{}
	}
	return dbs
}

func TestParseConfig(t *testing.T) {
	replica := func(path, url, upstreamPath string) dbConfig {
		return dbConfig{Path: path, Upstream: &upstreamConfig{URL: url, Path: upstreamPath}}
	}
	for _, tt := range []struct {
		name, yaml string
		want       config
	}{
		{"primary", "addr: \":9090\"\ndbs:\n  - path: /data/db\n",
			config{Addr: ":9090", DBs: []dbConfig{{Path: "/data/db"}}}},
		{"replica", "dbs:\n  - path: /data/db\n    upstream:\n      url: http://primary:9090\n      path: /srv/db\n",
			config{DBs: []dbConfig{replica("/data/db", "http://primary:9090", "/srv/db")}}},
		{"path defaults to the local one", "dbs:\n  - path: /data/db\n    upstream:\n      url: \"http://primary:9090\"\n",
			config{DBs: []dbConfig{replica("/data/db", "http://primary:9090", "/data/db")}}},
		{"several", "addr: :80\ndbs:\n- path: /a/one\n- path: /a/two\n- path: /b/three\n  upstream: {url: 'https://h/', path: /x/y}\n",
			config{Addr: ":80", DBs: []dbConfig{{Path: "/a/one"}, {Path: "/a/two"}, replica("/b/three", "https://h", "/x/y")}}},
		{"passthrough", "passthrough: off\ndbs: [{path: /data/db}]",
			config{Passthrough: fuse.PassthroughOff, DBs: []dbConfig{{Path: "/data/db"}}}},
		{"path is cleaned", "dbs: [{path: /data//x/../db}]",
			config{DBs: []dbConfig{{Path: "/data/db"}}}},
		{"variables", "addr: $HOST:$PORT # not $THIS\ndbs:\n  - path: ${DIR}/db$1\n",
			config{Addr: "h:1", DBs: []dbConfig{{Path: "/data/db$1"}}}},
		{"a variable is not YAML", "dbs:\n  - path: /data/$TRICK\n",
			config{DBs: []dbConfig{{Path: "/data/x: [y] # z"}}}},
		{"directory", "dbs:\n- dir: /data/x/..\n  pattern: '*.db'\n- {dir: /srv, pattern: 'a?', recursive: true, watch: true, upstream: {url: 'http://h', path: /up}}\n- {dir: /var, pattern: x, upstream: {url: 'http://h'}}\n",
			config{DBs: []dbConfig{
				{Dir: "/data", Pattern: "*.db"},
				{Dir: "/srv", Pattern: "a?", Recursive: true, Upstream: &upstreamConfig{URL: "http://h", Path: "/up"}},
				{Dir: "/var", Pattern: "x", Upstream: &upstreamConfig{URL: "http://h", Path: "/var"}},
			}}},
		{"directory with two patterns and a database", "dbs: [{dir: /data, pattern: '*.db'}, {dir: /data, pattern: '*.sqlite'}, {path: /data/db}]",
			config{DBs: []dbConfig{{Dir: "/data", Pattern: "*.db"}, {Dir: "/data", Pattern: "*.sqlite"}, {Path: "/data/db"}}}},
		{"alias", "addr: &a \":9090\"\ndbs:\n  - path: /data/db\n    upstream: {url: http://h, path: &p /up/db}\n  - path: /data/db2\n    upstream: {url: http://h, path: *p}\n",
			config{Addr: ":9090", DBs: []dbConfig{replica("/data/db", "http://h", "/up/db"), replica("/data/db2", "http://h", "/up/db")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			getenv := env("HOST", "h", "PORT", "1", "DIR", "/data", "TRICK", "x: [y] # z")
			got, err := parseConfig("weir.yml", []byte(tt.yaml), getenv)
			if err != nil {
				t.Fatal(err)
			}
			if got.Addr != tt.want.Addr || got.Passthrough != tt.want.Passthrough || !reflect.DeepEqual(plainDBs(got), tt.want.DBs) || got.Warnings != nil {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseConfigWithoutExpansion(t *testing.T) {
	got, err := parseConfig("weir.yml", []byte("dbs: [{path: /data/$db}]"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/data/$db"; got.DBs[0].Path != want {
		t.Errorf("got path %q, want %q", got.DBs[0].Path, want)
	}
}

func TestRelativePathIsMadeAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	got, err := parseConfig("weir.yml", []byte("dbs: [{path: sub/db}]"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "sub/db"); got.DBs[0].Path != want {
		t.Errorf("got path %q, want %q", got.DBs[0].Path, want)
	}
}

// litestream.yml is a Litestream configuration as its users have it: what weir knows is taken, the rest is named.
func TestLitestreamConfig(t *testing.T) {
	got, err := loadConfig("testdata/litestream.yml", env("PRIMARY_HOST", "db1"))
	if err != nil {
		t.Fatal(err)
	}
	want := []dbConfig{
		{Path: "/var/lib/app/app.db", Upstream: &upstreamConfig{URL: "http://db1:9090", Path: "/var/lib/app/app.db"}},
		{Path: "/var/lib/app/jobs.db", Upstream: &upstreamConfig{URL: "http://db1:9090", Path: "/srv/jobs.db"}},
	}
	if got.Addr != ":9090" || !reflect.DeepEqual(plainDBs(got), want) {
		t.Errorf("got addr %q and %+v, want %+v", got.Addr, got.DBs, want)
	}
	wantWarnings := []string{
		"testdata/litestream.yml:2: weir has no key access-key-id: ignored",
		"testdata/litestream.yml:3: weir has no key secret-access-key: ignored",
		"testdata/litestream.yml:5: weir has no key logging: ignored",
		"testdata/litestream.yml:9: weir has no key exec: ignored",
		"testdata/litestream.yml:13: weir has no key dbs[0].replicas: ignored",
		"testdata/litestream.yml:18: weir has no key dbs[0].snapshot: ignored",
		"testdata/litestream.yml:26: weir has no key dbs[1].upstream.timeout: ignored",
		"testdata/litestream.yml:27: weir has no key dbs[1].monitor-interval: ignored",
	}
	if !reflect.DeepEqual(got.Warnings, wantWarnings) {
		t.Errorf("got warnings\n%s\nwant\n%s", strings.Join(got.Warnings, "\n"), strings.Join(wantWarnings, "\n"))
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"empty", "", "f.yml: no database to mount: add one"},
		{"only a comment", "# nothing\n", "f.yml: no database"},
		{"no dbs", "addr: ':1'\n", "f.yml: no database"},
		{"not a mapping", "- path: /data/db\n", "f.yml:1: the configuration is a list"},
		{"bad YAML", "dbs:\n  - path: [\n", "f.yml:2: not valid YAML"},
		{"tab", "dbs:\n\t- path: /a/b\n", "f.yml:2: not valid YAML"},
		{"two documents", "dbs: [{path: /a/b}]\n---\ndbs: []\n", "f.yml:2: a second YAML document"},
		{"passthrough", "passthrough: maybe\ndbs: [{path: /a/b}]\n", "f.yml:1: passthrough is \"maybe\": give auto, on or off"},
		{"addr is a number", "addr: 9090\ndbs: [{path: /a/b}]\n", "f.yml:1: addr is a number: write \":9090\""},
		{"addr without port", "addr: localhost\ndbs: [{path: /a/b}]\n", "f.yml:1: addr \"localhost\" is not HOST:PORT"},
		{"addr with a bad port", "addr: ':http'\ndbs: [{path: /a/b}]\n", "f.yml:1: addr \":http\" has port"},
		{"addr with too high a port", "addr: ':65536'\ndbs: [{path: /a/b}]\n", "f.yml:1: addr \":65536\" has port"},
		{"two addresses", "addr: ':1'\naddr: ':2'\ndbs: [{path: /a/b}]\n", "f.yml:2: addr is given twice"},
		{"a list of addresses", "addr: [':1', ':2']\ndbs: [{path: /a/b}]\n", "f.yml:1: addr is a list"},
		{"dbs is text", "dbs: /data/db\n", "f.yml:1: dbs is text: write a list"},
		{"dbs is a mapping", "dbs:\n  path: /data/db\n", "f.yml:2: dbs is a mapping"},
		{"an entry is text", "dbs:\n  - /data/db\n", "f.yml:2: an entry of dbs is text"},
		{"an entry has no path", "dbs:\n  - path: /a/b\n  - upstream: {url: http://h}\n", "f.yml:3: dbs[1] has no path"},
		{"path is empty", "dbs:\n  - path:\n", "f.yml:2: path is empty"},
		{"path is empty text", "dbs:\n  - path: ''\n", "f.yml:2: path is empty"},
		{"path is a number", "dbs:\n  - path: 12\n", "f.yml:2: path is a number: put it in quotes, as in \"12\""},
		{"path is a directory", "dbs:\n  - path: /data/\n", "f.yml:2: path \"/data/\" names a directory"},
		{"path in the root", "dbs:\n  - path: /db\n", "f.yml:2: path \"/db\" is in the root directory"},
		{"path of a WAL", "dbs:\n  - path: /data/db-wal\n", "f.yml:2: path ends in -wal: that is SQLite's own file, give the database: db"},
		{"path of weir's", "dbs:\n  - path: /data/.weir\n", "f.yml:2: path ends in .weir"},
		{"duplicate", "dbs:\n  - path: /a/b\n  - path: /a/x/../b\n", "f.yml:3: /a/b is listed twice (first at f.yml:2)"},
		{"both roles", "dbs:\n  - path: /a/b\n  - path: /a/c\n    upstream: {url: http://h}\n", "f.yml:3: /a holds a primary and a replica (b at f.yml:2)"},
		{"directory without pattern", "dbs:\n  - dir: /a\n", "f.yml:2: dbs[0] has no pattern: add one"},
		{"path and directory", "dbs:\n  - {path: /a/b, dir: /a, pattern: x}\n", "f.yml:2: dbs[0] has both path and dir"},
		{"path and pattern", "dbs:\n  - {path: /a/b, pattern: x}\n", "f.yml:2: dbs[0] has a path, and keys that go with dir"},
		{"pattern with a slash", "dbs:\n  - {dir: /a, pattern: 'x/*'}\n", "f.yml:2: pattern \"x/*\" has a slash"},
		{"bad pattern", "dbs:\n  - {dir: /a, pattern: '[x'}\n", "f.yml:2: pattern \"[x\": syntax error in pattern"},
		{"recursive is text", "dbs:\n  - {dir: /a, pattern: x, recursive: often}\n", "f.yml:2: recursive is text: write true or false"},
		{"directory is the root", "dbs:\n  - {dir: /, pattern: x}\n", "f.yml:2: dir is the root directory"},
		{"pattern twice", "dbs:\n  - {dir: /a, pattern: x}\n  - {dir: /a/, pattern: x}\n", "f.yml:3: /a/x is listed twice (first at f.yml:2)"},
		{"directory of both roles", "dbs:\n  - {dir: /a, pattern: x}\n  - {path: /a/b, upstream: {url: 'http://h'}}\n", "f.yml:3: /a holds a primary and a replica (x at f.yml:2)"},
		{"in a recursive directory", "dbs:\n  - {dir: /a, pattern: x, recursive: true}\n  - path: /a/b/c\n", "f.yml:3: /a/b/c is below /a, which is recursive (at f.yml:2)"},
		{"directory of two upstreams", "dbs:\n  - {dir: /a, pattern: x, upstream: {url: 'http://h'}}\n  - {dir: /a, pattern: y, upstream: {url: 'http://i'}}\n", "f.yml:3: /a has two upstreams (another at f.yml:2)"},
		{"upstream with path and dir", "dbs:\n  - {dir: /a, pattern: x, upstream: {url: 'http://h', path: /b, dir: /b}}\n", "f.yml:2: dbs[0].upstream has both path and dir"},
		{"unset variable", "dbs:\n  - path: /$NOPE/${NEITHER}\n", "f.yml:2: $NOPE, $NEITHER is not set"},
		{"upstream is text", "dbs:\n  - path: /a/b\n    upstream: http://h\n", "f.yml:3: upstream is text"},
		{"upstream is empty", "dbs:\n  - path: /a/b\n    upstream:\n", "f.yml:3: upstream is empty"},
		{"upstream has no url", "dbs:\n  - path: /a/b\n    upstream:\n      path: /c/d\n", "f.yml:4: upstream has no url"},
		{"url without scheme", "dbs:\n  - path: /a/b\n    upstream: {url: 'host:9090'}\n", "f.yml:3: url \"host:9090\" is neither http nor https"},
		{"url of a file", "dbs:\n  - path: /a/b\n    upstream: {url: 'file:///x'}\n", "f.yml:3: url \"file:///x\" is neither"},
		{"url without host", "dbs:\n  - path: /a/b\n    upstream: {url: 'http://'}\n", "f.yml:3: url \"http://\" has no host"},
		{"url with a query", "dbs:\n  - path: /a/b\n    upstream: {url: 'http://h?path=/x'}\n", "f.yml:3: url \"http://h?path=/x\" has a query"},
		{"upstream path is relative", "dbs:\n  - path: /a/b\n    upstream: {url: 'http://h', path: db}\n", "f.yml:3: path \"db\" is not absolute"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseConfig("f.yml", []byte(tt.yaml), env())
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s...", err, tt.want)
			}
		})
	}
}

// All that is wrong is said in one go.
func TestConfigErrorsTogether(t *testing.T) {
	_, err := parseConfig("f.yml", []byte("addr: x\ndbs:\n  - path: 1\n  - path: /db\n"), nil)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"f.yml:1: addr", "f.yml:3: path is a number", "f.yml:4: path \"/db\""} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to have %q", err, want)
		}
	}
}

func TestConfigTooLarge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yml")
	if err := os.WriteFile(file, make([]byte, maxConfigSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadConfig(file, nil); err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("got %v, want an error about the size", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	sample, err := os.ReadFile("testdata/litestream.yml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte("dbs: &a [*a]"))
	f.Add([]byte("dbs:\n  - path: /a/b\n    upstream: {url: http://h}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig("f.yml", data, env("A", "b"))
		if err != nil {
			return
		}
		for _, db := range c.DBs {
			if !filepath.IsAbs(db.directory()) || !filepath.IsAbs(db.String()) {
				t.Errorf("path %q is not absolute", db)
			}
		}
	})
}
