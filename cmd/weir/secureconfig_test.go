package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSecureConfig(t *testing.T) {
	got, err := parseConfig("weir.yml", []byte(`
addr: ":9090"
tls: {cert: /c/crt, key: /c/key, client-ca: /c/ca}
tokens:
  - {name: one, token: $TOKEN}
  - name: two
    token-file: /c/token
    dbs: [/data/db, "/srv/*.db", /all/**]
dbs:
  - path: /data/db
    upstream:
      url: https://h
      token: "`+otherToken+`"
      tls: {ca: /c/up, cert: /c/me, key: /c/mine}
`), env("TOKEN", replicaToken))
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Tokens {
		got.Tokens[i].at = position{}
	}
	want := &config{
		Addr: ":9090", TLS: &tlsFiles{Cert: "/c/crt", Key: "/c/key", CA: "/c/ca"},
		Tokens: []tokenConfig{
			{Name: "one", Token: tokenSource{Text: replicaToken}},
			{Name: "two", Token: tokenSource{File: "/c/token"}, DBs: []string{"/data/db", "/srv/*.db", "/all/**"}},
		},
		DBs: []dbConfig{{Path: "/data/db", Upstream: &upstreamConfig{
			URL: "https://h", Path: "/data/db", TLS: tlsFiles{Cert: "/c/me", Key: "/c/mine", CA: "/c/up"}, Token: tokenSource{Text: otherToken},
		}}},
	}
	got.DBs = plainDBs(got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSecureConfigErrors(t *testing.T) {
	const dbs = "dbs: [{path: /a/b}]\n"
	for _, tt := range []struct{ name, yaml, want string }{
		{"tls is text", "tls: /c\n" + dbs, "f.yml:1: tls is text"},
		{"no cert", "tls: {client-ca: /c}\n" + dbs, "f.yml:1: tls has no cert"},
		{"no key", "tls: {cert: /c}\n" + dbs, "f.yml:1: tls has only one of cert and key"},
		{"tokens is a mapping", "tokens: {a: b}\n" + dbs, "f.yml:1: tokens is a mapping"},
		{"no tokens", "tokens: []\n" + dbs, "f.yml:1: tokens is a list: write a list, with"},
		{"token without a name", "tokens: [{token: " + replicaToken + "}]\n" + dbs, "f.yml:1: tokens[0] has no name"},
		{"a name twice", "tokens:\n- {name: a, token: " + replicaToken + "}\n- {name: a, token: " + otherToken + "}\n" + dbs, "f.yml:3: the token a is listed twice (first at f.yml:2)"},
		{"name without a token", "tokens: [{name: a}]\n" + dbs, "f.yml:1: tokens[0] has no token"},
		{"both", "tokens: [{name: a, token: " + replicaToken + ", token-file: /t}]\n" + dbs, "f.yml:1: tokens[0] has both token and token-file"},
		{"short token", "tokens: [{name: a, token: s3cret}]\n" + dbs, "f.yml:1: a token of 6 characters: give at least 16"},
		{"empty token", "tokens: [{name: a, token: ''}]\n" + dbs, "f.yml:1: a token of 0 characters"},
		{"numeric token", "tokens: [{name: a, token: 12345678901234567890}]\n" + dbs, "f.yml:1: token is a number: put the token in quotes"},
		{"odd token", "tokens: [{name: a, token: 's3cret with blanks in it'}]\n" + dbs, "f.yml:1: a token with other characters"},
		{"part of a token is no variable", "tokens: [{name: a, token: s3cret$s3cretpart1234}]\n" + dbs, "f.yml:1: a token with other characters"},
		{"unset variable", "tokens: [{name: a, token: $NOPE}]\n" + dbs, "f.yml:1: $NOPE is not set"},
		{"no dbs", "tokens: [{name: a, token: " + replicaToken + ", dbs: []}]\n" + dbs, "f.yml:1: dbs is a list: write a list of paths"},
		{"relative", "tokens: [{name: a, token: " + replicaToken + ", dbs: [b]}]\n" + dbs, "f.yml:1: dbs has \"b\", which is not absolute"},
		{"bad pattern", "tokens: [{name: a, token: " + replicaToken + ", dbs: ['/[']}]\n" + dbs, "f.yml:1: dbs has the pattern \"/[\""},
		{"tls with http", "dbs:\n- path: /a/b\n  upstream: {url: 'http://h', tls: {ca: /c}}\n", "f.yml:3: dbs[0].upstream has tls, but its url is http://h"},
		{"both at the upstream", "dbs:\n- path: /a/b\n  upstream: {url: 'http://h', token: " + replicaToken + ", token-file: /t}\n", "f.yml:3: dbs[0].upstream has both"},
		{"below the mount", "tls: {cert: /a/crt, key: /k}\n" + dbs, "f.yml:2: /a/crt is in /a, over which weir mounts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseConfig("f.yml", []byte(tt.yaml), env())
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s...", err, tt.want)
			}
			for _, secret := range []string{replicaToken, otherToken, "s3cret", "1234567890"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the token is in %v", err)
				}
			}
		})
	}
}

// A secret is printed in no way.
func TestSecret(t *testing.T) {
	s := tokenConfig{Name: "a", Token: tokenSource{Text: replicaToken}}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", s.Token.Text, "all", s)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s.Token.Text, s.Token.Text), log.String()} {
		if strings.Contains(text, replicaToken) {
			t.Errorf("got %s", text)
		}
	}
}

// What is wrong with the files at the start is said with their names, and ends weir before it mounts.
func TestSecureStart(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "weir test")
	one, two := ca.sign("one", "127.0.0.1", soon()), ca.sign("two", "127.0.0.1", soon())
	empty, same := filepath.Join(dir, "empty"), filepath.Join(dir, "same")
	writeFile(t, empty, " \n")
	writeFile(t, same, replicaToken+"\n"+replicaToken)
	db := filepath.Join(dir, "data", "db")
	if err := os.Mkdir(filepath.Dir(db), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"-tls-cert", "/none", "-tls-key", one.Key, db}, exitFailure, []string{"/none", "no such file"}},
		{[]string{"-tls-cert", one.Cert, "-tls-key", two.Key, db}, exitFailure, []string{one.Cert, two.Key, "does not match"}},
		{[]string{"-tls-cert", one.Cert, "-tls-key", one.Key, "-tls-client-ca", empty, db}, exitFailure, []string{empty, "no certificate"}},
		{[]string{"-token-file", empty, db}, exitFailure, []string{empty, "is empty"}},
		{[]string{"-token-file", same, db}, exitFailure, []string{"is the same as"}},
		{[]string{"-upstream", "https://127.0.0.1:1", "-tls-ca", empty, db}, exitFailure, []string{db, empty, "no certificate"}},
		{[]string{"-upstream", "https://127.0.0.1:1", "-token-file", empty, db}, exitFailure, []string{empty, "is empty"}},
		{[]string{"-tls-cert", one.Cert, db}, exitUsage, []string{"-tls-cert and -tls-key belong together"}},
		{[]string{"-tls-client-ca", one.CA, db}, exitUsage, []string{"needs -tls-cert"}},
		{[]string{"-tls-ca", one.CA, db}, exitUsage, []string{"-tls-client-ca"}},
		{[]string{"-token-file", empty}, exitUsage, []string{"in a configuration write"}},
	} {
		out, code := weirCommand(append([]string{"mount", "-addr", "127.0.0.1:0"}, tt.args...)...)
		if code != tt.code {
			t.Errorf("%v: got exit code %d, want %d: %s", tt.args, code, tt.code, out)
		}
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: got %s, want %q in it", tt.args, out, want)
			}
		}
		if strings.Contains(out, replicaToken) || strings.Contains(out, "msg=mounted") {
			t.Errorf("%v: got %s", tt.args, out)
		}
	}
}
