package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// runHere runs weir in this process.
func runHere(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	null, openErr := os.Open(os.DevNull)
	if openErr != nil {
		t.Fatal(openErr)
	}
	defer null.Close()
	code = run(t.Context(), args, null, &out, &err)
	return code, out.String(), err.String()
}

func TestUsage(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("addr: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WEIR_CONFIG", "/nonexistent/weir.yml")
	for _, tt := range []struct {
		args   string
		code   int
		stdout string // each is a part
		stderr string
	}{
		{"", 2, "", "usage: weir COMMAND"},
		{"help", 0, "usage: weir COMMAND", ""},
		{"-h", 0, "usage: weir COMMAND", ""},
		{"help mount", 0, "usage: weir mount", ""},
		{"mount -h", 0, "usage: weir mount", ""},
		{"mount --help", 0, "usage: weir mount", ""},
		{"demo -h", 0, "usage: weir demo", ""},
		{"help nope", 2, "", "weir: there is no command \"nope\"\nhint: run \"weir help\""},
		{"nope", 2, "", "weir: there is no command \"nope\"\nhint: run \"weir help\""},
		{"version", 0, "weir ", ""},
		{"-version", 0, "weir ", ""},
		{"version x", 2, "", "weir: version takes no arguments"},
		{"demo x", 2, "", "weir: demo takes no arguments"},
		{"demo -for 0s", 2, "", "weir: -for is 0s: give a positive"},
		{"snapshot", 2, "", "weir: give one database or URL, got 0"},
		{"snapshot -o x a b", 2, "", "weir: give one database or URL, got 2"},
		{"snapshot -o /no/such/directory/x http://127.0.0.1:1/db", 1, "", "weir: open /no/such/directory/"},
		{"log", 2, "", "weir: give one database, URL or directory, got 0"},
		{"log -compact /a/b", 2, "", "weir: -compact and -snapshot are for an export"},
		{"log -o x -json /a/b", 2, "", "weir: -json is for a list"},
		{"log -o /x /tmp", 2, "", "weir: /tmp is a directory: give a database or URL to export"},
		{"log /no/such/db", 1, "", "hint: start it: weir mount; or give a URL"},
		{"restore -o x", 2, "", "weir: give one directory, database or URL, got 0"},
		{"restore /tmp", 2, "", "weir: give the file to restore to with -o"},
		{"restore -o x -txid 12 /tmp", 2, "", "for flag -txid: give 16 hex digits"},
		{"restore -o x -timestamp noon /tmp", 2, "", "for flag -timestamp: give a time with its zone"},
		{"restore -o x -timestamp 2026-01-31T12:00:00Z -txid 0000000000000001 /tmp", 2, "", "weir: -txid and -timestamp exclude each other"},
		{"wait -db /a/b", 2, "", "weir: give either -txid or -now"},
		{"wait -db /a/b -now -timeout 0s", 2, "", "weir: -timeout is 0s: give a positive"},
		{"wait -now", 2, "", "weir: give the database with -db"},
		{"wait -now -db /no/such/db", 1, "", "no weir runs here"},
		{"config", 2, "", "weir: say what to do with the configuration: weir config check"},
		{"config -h", 0, "usage: weir config check", ""},
		{"config check x", 2, "", "weir: config check takes no arguments"},
		{"config check", 1, "", "hint: write /nonexistent/weir.yml"},
		{"config check -config " + bad, 1, "", "weir: " + bad + ":1: addr is a number"},
		{"verify", 2, "", "weir: give the database with -db"},
		{"verify -db /a/b x", 2, "", "weir: verify takes no arguments"},
		{"verify -db /no/such/db", 1, "", "no weir runs here"},
		{"completion", 2, "", "weir: completion is for a shell"},
		{"man x", 2, "", "weir: man takes no arguments"},
		{"bench x", 2, "", "weir: bench takes no arguments"},
		{"bench -rounds 0", 2, "", "weir: -rounds is 0: give at least 1"},
		{"bench -turn 0s", 2, "", "weir: -turn is 0s: give a positive"},
		{"bench -run nothing", 2, "", "weir: no measurement has a name that contains \"nothing\""},
		{"mount -nope", 2, "", "weir: flag provided but not defined: -nope\nhint: run \"weir help mount\""},
		{"mount /a/b /a/c", 2, "", "weir: one database at most, got \"/a/c\""},
		{"mount /a/b -addr :1", 2, "", "flags stand before the database"},
		{"mount -config x /a/b", 2, "", "weir: -config and a database (/a/b) exclude each other"},
		{"mount -upstream http://h", 2, "", "weir: -upstream needs the database to replicate"},
		{"mount -upstream ftp://h /a/b", 2, "", "weir: url \"ftp://h\" is neither http nor https"},
		{"mount -addr x /a/b", 2, "", "weir: addr \"x\" is not HOST:PORT"},
		{"mount /a/b --", 2, "", "weir: there is no command after --"},
		{"mount /b", 2, "", "weir: path \"/b\" is in the root directory"},
		{"mount -log-format xml /a/b", 2, "", "weir: invalid value \"xml\" for flag -log-format: log-format is \"xml\": give text or json"},
		{"mount -passthrough maybe /a/b", 2, "", "weir: invalid value \"maybe\" for flag -passthrough: passthrough is \"maybe\": give auto, on or off"},
		{"mount -log-level loud /a/b", 2, "", "weir: invalid value \"loud\" for flag -log-level"},
		{"mount", 1, "", "hint: write /nonexistent/weir.yml, name another file with -config, or give a database"},
		{"mount -config " + bad, 1, "", "weir: " + bad + ":1: addr is a number: write \":9090\""},
	} {
		t.Run(tt.args, func(t *testing.T) {
			code, stdout, stderr := runHere(t, strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("got exit code %d, want %d", code, tt.code)
			}
			if !strings.Contains(stdout, tt.stdout) || (tt.stdout == "") != (stdout == "") {
				t.Errorf("got output %q, want %q", stdout, tt.stdout)
			}
			if !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
				t.Errorf("got errors %q, want %q", stderr, tt.stderr)
			}
		})
	}
}

func TestMountFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yml")
	if err := os.WriteFile(file, []byte("addr: ':1'\ndbs: [{path: /a/$NAME}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NAME", "db")
	t.Setenv("WEIR_CONFIG", file)
	for _, tt := range []struct {
		args           string
		addr, path     string
		upstream, upPt string
		command        []string
	}{
		{"/a/b", ":9090", "/a/b", "", "", nil},
		{"-addr 127.0.0.1:7 /a/b", "127.0.0.1:7", "/a/b", "", "", nil},
		{"-addr= /a/b", "", "/a/b", "", "", nil},
		{"-upstream http://h:9090/ /a/b", "", "/a/b", "http://h:9090", "/a/b", nil},
		{"-upstream http://h -addr :5 /a/b", ":5", "/a/b", "http://h", "/a/b", nil},
		{"/a/b -- cmd -x -- y", ":9090", "/a/b", "", "", []string{"cmd", "-x", "--", "y"}},
		{"", ":1", "/a/db", "", "", nil},
		{"-config " + file, ":1", "/a/db", "", "", nil},
		{"-config " + file + " -no-expand-env", ":1", "/a/$NAME", "", "", nil},
		{"-config " + file + " -addr :2 -- cmd", ":2", "/a/db", "", "", []string{"cmd"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			flags, err := parseMountFlags(strings.Fields(tt.args), stdio{})
			if err != nil {
				t.Fatal(err)
			}
			conf, err := flags.load()
			if err != nil {
				t.Fatal(err)
			}
			db := conf.DBs[0]
			if conf.Addr != tt.addr || db.Path != tt.path || !slices.Equal(flags.command, tt.command) {
				t.Errorf("got %q, %q and %q, want %q, %q and %q", conf.Addr, db.Path, flags.command, tt.addr, tt.path, tt.command)
			}
			var up upstreamConfig
			if db.Upstream != nil {
				up = *db.Upstream
			}
			if want := (upstreamConfig{URL: tt.upstream, Path: tt.upPt}); up != want {
				t.Errorf("got upstream %+v, want %+v", up, want)
			}
		})
	}
}

// A primary that nobody can follow is worth a warning.
func TestNoAddrWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yml")
	if err := os.WriteFile(file, []byte("dbs: [{path: /a/b}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags, err := parseMountFlags([]string{"-config", file}, stdio{})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := flags.load()
	if err != nil {
		t.Fatal(err)
	}
	if len(conf.Warnings) != 1 || !strings.Contains(conf.Warnings[0], "no replica can follow") {
		t.Errorf("got warnings %q, want one that no replica can follow", conf.Warnings)
	}
}

func TestComparePages(t *testing.T) {
	const size = 512
	database := func(pages int) []byte {
		b := make([]byte, pages*size)
		binary.BigEndian.PutUint16(b[pageSizeAt:], size)
		return b
	}
	changed := func(at int) []byte {
		b := database(3)
		b[at]++
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want string // the error's text; empty: the same
	}{
		{"same", database(3), ""},
		{"other versions", changed(writeVersionAt), ""},
		{"other read version", changed(readVersionAt), ""},
		{"first page", changed(20), "page 1 differs"},
		{"first byte of the second page", changed(size), "page 2 differs"},
		{"last byte", changed(3*size - 1), "page 3 differs"},
		{"byte 18 of another page", changed(size + writeVersionAt), "page 2 differs"},
		{"shorter", database(2), "primary has 3 pages of 512 bytes, replica 2"},
		{"empty", nil, "primary has 1536 bytes, replica 0: not databases"},
	} {
		n, err := comparePages(database(3), tt.b)
		switch {
		case tt.want == "" && (err != nil || n != 3):
			t.Errorf("%s: got %d, %v, want 3 pages", tt.name, n, err)
		case tt.want != "" && (err == nil || err.Error() != tt.want):
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		420 * time.Microsecond: "0.42 ms", 17300 * time.Microsecond: "17.3 ms", 240 * time.Millisecond: "240 ms",
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	values := []time.Duration{5, 1, 4, 2, 3}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 1: 5} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v: got %d, want %d", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing: got %d, want 0", got)
	}
}
