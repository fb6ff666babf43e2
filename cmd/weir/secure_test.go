package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/stream"
)

var discard = slog.New(slog.DiscardHandler)

const (
	replicaToken = "a-token-of-the-replica-0123456789"
	otherToken   = "a-token-of-another-app-0123456789"
	unknownToken = "a-token-that-nobody-knows-012345"
)

// secureNode is a primary that is served with TLS to who has a certificate and a token.
type secureNode struct {
	*node
	ca     *authority
	files  tlsFiles // its certificate, and whose sign its clients' are to have
	client tlsFiles // a certificate for clients
	tokens string   // file with replicaToken
}

func newSecureNode(t *testing.T) *secureNode {
	t.Helper()
	n := &secureNode{node: newNode(t, "primary"), ca: newAuthority(t, "weir test")}
	n.files, n.client = n.ca.sign("primary", n.ip(), soon()), n.ca.sign("replica", "127.0.0.1", soon())
	n.files.CA = filepath.Join(n.work, "clients.crt") // its own, to be renewed
	copyFile(t, n.ca.file, n.files.CA)
	n.tokens = filepath.Join(n.work, "tokens")
	writeFile(t, n.tokens, replicaToken+"\n")
	n.configure(`
addr: %q
tls: {cert: %s, key: %s, client-ca: %s}
tokens:
  - {name: replica, token-file: %s, dbs: [%q]}
  - {name: other, token: %s, dbs: [/srv/other/*.db]}
dbs:
  - path: %s
`, n.addr, n.files.Cert, n.files.Key, n.files.CA, n.tokens, n.db, otherToken, n.db)
	return n
}

// awaitFollower waits until the primary knows how far its replica is, which says so beside its stream.
func (n *secureNode) awaitFollower() {
	n.t.Helper()
	n.eventually("an acknowledgement", func() error {
		_, _, body := n.answer(replicaToken, "/status")
		var all []stream.Status
		if err := json.Unmarshal([]byte(body), &all); err != nil {
			return err
		}
		if len(all) != 1 || len(all[0].Streams) != 1 || all[0].Streams[0].AckedAt.IsZero() {
			return fmt.Errorf("got %s", body)
		}
		return nil
	})
}

func (n *node) ip() string { return n.addr[:strings.LastIndex(n.addr, ":")] }

// followSecurely makes replica one that may follow n.
func (n *secureNode) followSecurely(replica *node) {
	n.t.Helper()
	token := filepath.Join(replica.work, "token")
	writeFile(n.t, token, replicaToken+"\n")
	replica.configure("addr: %q\ndbs:\n  - path: %s\n    upstream:\n      url: https://%s\n      path: %s\n      token-file: %s\n      tls: {ca: %s, cert: %s, key: %s}\n",
		replica.addr, replica.db, n.addr, n.db, token, n.client.CA, n.client.Cert, n.client.Key)
}

// ask makes a request by a client with these files and this token.
func (n *secureNode) ask(files tlsFiles, token, target string) (*http.Response, error) {
	n.t.Helper()
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: clientOf(n.t, files), DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(n.t.Context(), "GET", "https://"+n.addr+target, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return client.Do(req)
}

// answer is ask for answers that end.
func (n *secureNode) answer(token, target string) (status int, header http.Header, body string) {
	n.t.Helper()
	resp, err := n.ask(n.client, token, target)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(target, "/stream") {
		return resp.StatusCode, resp.Header, ""
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

// A replica follows with TLS, a certificate of its own and a token; nothing older than TLS 1.2 is spoken, and no HTTP/2.
func TestSecureReplication(t *testing.T) {
	primary, replica := startSecurePair(t)
	if status, body := replica.get("GET", "/wait?now=1&path="+replica.db); status != 200 {
		t.Errorf("what the replica asks its upstream: got %d %s", status, body)
	}
	primary.awaitFollower()
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		conf := clientOf(t, primary.client)
		conf.MinVersion, conf.MaxVersion, conf.NextProtos = version, version, []string{"h2", "http/1.1"}
		c, err := tls.Dial("tcp", primary.addr, conf)
		if (err == nil) != (version >= tls.VersionTLS12) {
			t.Errorf("%s: got %v", tls.VersionName(version), err)
		}
		if err != nil {
			continue
		}
		if got := c.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
			t.Errorf("%s: got protocol %q, want http/1.1", tls.VersionName(version), got)
		}
		c.Close()
	}
	// Everything that is secret is in neither log.
	for _, n := range []*node{primary.node, replica} {
		for _, secret := range []string{replicaToken, otherToken} {
			if strings.Contains(n.logged(), secret) {
				t.Errorf("the %s's log has a token", n.name)
			}
		}
	}
}

// The same by flags: a replica that serves on asks for what it shows.
func TestSecureFlags(t *testing.T) {
	primary := newHost(t, "primary", nil)
	replica := newHost(t, "replica", primary)
	files := newAuthority(t, "weir test").sign("host", "127.0.0.1", soon())
	token := filepath.Join(t.TempDir(), "token")
	writeFile(t, token, replicaToken)
	if err := os.Chmod(token, 0o644); err != nil {
		t.Fatal(err)
	}
	flags := []string{"-token-file", token, "-tls-cert", files.Cert, "-tls-key", files.Key, "-tls-client-ca", files.CA}
	primary.run(":9090", append(append([]string{"mount"}, flags...), primary.db)...)
	if _, err := primary.sql(auditSchema + auditStep); err != nil {
		t.Fatal(err)
	}
	replica.run(":9091", append(append([]string{"mount", "-upstream", "https://127.0.0.1:9090", "-addr", ":9091", "-tls-ca", files.CA}, flags...), replica.db)...)
	replica.eventually("the primary's row", func() error {
		got, err := replica.sql("SELECT n FROM counter")
		if err == nil && got != "1" {
			err = fmt.Errorf("got %q", got)
		}
		return err
	})
	for _, h := range []*host{primary, replica} {
		if !strings.Contains(h.logged(), "tls=true") || strings.Contains(h.logged(), "anyone who reaches") || strings.Contains(h.logged(), "unencrypted") {
			t.Errorf("%s: got %s", h.name, h.logged())
		}
		if strings.Count(h.logged(), "every user can read this secret") != 1 || !strings.Contains(h.logged(), "file="+token) {
			t.Errorf("%s: got %s, want one warning of %s", h.name, h.logged(), token)
		}
	}
}

// Commands ask a weir elsewhere with what the environment names, and say what is missing.
func TestSecureCommands(t *testing.T) {
	primary := newSecureNode(t)
	primary.start()
	shell(t, primary.db, auditSchema+auditStep)
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, tt := range []struct {
		lacks, args, want string
		code              int
	}{
		{"", "status -addr https://" + primary.addr, primary.db, 0},
		{"", "snapshot -o " + copied + " https://" + primary.addr, "", 0},
		{"", "log https://" + primary.addr + primary.db, "", 0},
		{tokenVar, "status -addr https://" + primary.addr, "set $WEIR_TOKEN_FILE", 1},
		{tokenVar, "snapshot -o - https://" + primary.addr, "set $WEIR_TOKEN_FILE", 1},
		{tokenVar, "snapshot -o - https://" + primary.addr + primary.db, "token", 1},
		{tokenVar, "log https://" + primary.addr + primary.db, "token", 1},
		{caVar, "status -addr https://" + primary.addr, "set $WEIR_TLS_CA", 1},
		{certVar, "status -addr https://" + primary.addr, "only one of $WEIR_TLS_CERT and $WEIR_TLS_KEY", 1},
		{"", "status -addr " + primary.addr, "write https://", 1},
		{"", "config check -config " + primary.conf, "to who shows one of 2 tokens", 0},
		{"", "status -db " + primary.db, primary.db, 0}, // by the socket
	} {
		cmd := command(append([]string{weirBinary}, strings.Fields(tt.args)...)...)
		cmd.Env = os.Environ()
		for name, value := range map[string]string{tokenVar: primary.tokens, caVar: primary.client.CA, certVar: primary.client.Cert, keyVar: primary.client.Key} {
			if name != tt.lacks {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
		}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.want) || strings.Contains(string(out), replicaToken) {
			t.Errorf("%s without %q: got exit code %d and %.600s, want %d and %q", tt.args, tt.lacks, code, out, tt.code, tt.want)
		}
	}
	if got := mustCommand(t, "sqlite3", copied, "SELECT n FROM counter"); got != "1" {
		t.Errorf("got %q in the copy, want 1", got)
	}
	writeFile(t, primary.tokens, "short")
	if out, code := weirCommand("config", "check", "-config", primary.conf); code != 1 || !strings.Contains(out, "give at least 16") {
		t.Errorf("config check with a bad token: got %d, %s", code, out)
	}
}

// newUpstream serves nothing, with files or without TLS, and returns the URL, which begins with https in any case.
func newUpstream(t *testing.T, files tlsFiles) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = slog.NewLogLogger(discard.Handler(), slog.LevelError)
	if files == (tlsFiles{}) {
		s.Start()
	} else {
		cert, err := files.certificate(discard)
		if err != nil {
			t.Fatal(err)
		}
		s.TLS = &tls.Config{Certificates: cert}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return "https://" + s.Listener.Addr().String()
}

// What is not right is refused, and the replica says what to do and goes on trying.
func TestSecureTurnsAway(t *testing.T) {
	primary := newSecureNode(t)
	primary.start()
	shell(t, primary.db, auditSchema+auditStep)
	stranger := newAuthority(t, "stranger")
	strange := stranger.sign("replica", "127.0.0.1", soon())
	expired := primary.ca.sign("expired", "127.0.0.1", time.Now().Add(-time.Hour))
	replica := newNode(t, "replica")
	token := filepath.Join(replica.work, "token")
	writeFile(t, token, unknownToken)
	with := func(ca, cert, key string) string { return fmt.Sprintf("{ca: %s, cert: %s, key: %s}", ca, cert, key) }
	good := with(primary.client.CA, primary.client.Cert, primary.client.Key)
	other := func(files tlsFiles) string { return newUpstream(t, files) }
	var conf strings.Builder
	fmt.Fprintf(&conf, "addr: %q\ndbs:\n", replica.addr)
	https := "https://" + primary.addr
	cases := []struct{ db, url, tls, token, want string }{
		{"wrong-token", https, good, "token-file: " + token, "upstream does not know this replica's token"},
		{"no-token", https, good, "", "upstream asks for a token"},
		{"other-token", https, good, "token: " + otherToken, "may not read " + primary.db + " at the upstream"},
		{"wrong-ca", https, with(strange.CA, primary.client.Cert, primary.client.Key), "token: " + replicaToken, "signed by no authority that is known here: set upstream.tls.ca"},
		{"no-ca", https, "{}", "token: " + replicaToken, "signed by no authority that is known here: set upstream.tls.ca"},
		{"no-certificate", https, fmt.Sprintf("{ca: %s}", primary.ca.file), "token: " + replicaToken, "upstream asks for a certificate, and takes none or not this one"},
		{"strange-certificate", https, with(primary.ca.file, strange.Cert, strange.Key), "token: " + replicaToken, "upstream asks for a certificate, and takes none or not this one"},
		{"expired-certificate", https, with(primary.ca.file, expired.Cert, expired.Key), "token: " + replicaToken, "upstream asks for a certificate, and takes none or not this one"},
		{"no-tls", "http://" + primary.addr, "", "token: " + replicaToken, "upstream serves with TLS: write https://"},
		{"upstream-without-tls", other(tlsFiles{}), good, "token: " + replicaToken, "upstream serves without TLS: write http://"},
		{"expired-upstream", other(expired), good, "token: " + replicaToken, "upstream's certificate is valid from "},
		{"another-host", other(primary.ca.sign("another", "10.1.2.3", soon())), good, "token: " + replicaToken, "upstream's certificate is for another host"},
	}
	for _, c := range cases {
		fmt.Fprintf(&conf, "  - path: %s\n    upstream:\n      url: %s\n      path: %s\n", filepath.Join(replica.dir, c.db), c.url, primary.db)
		if c.tls != "" {
			fmt.Fprintf(&conf, "      tls: %s\n", c.tls)
		}
		if c.token != "" {
			fmt.Fprintf(&conf, "      %s\n", c.token)
		}
	}
	replica.configure("%s", conf.String())
	replica.start()
	for _, c := range cases {
		replica.eventually(c.want+" for "+c.db, func() error {
			for line := range strings.Lines(replica.logged()) {
				if strings.Contains(line, "/"+c.db+" ") && strings.Contains(line, c.want) {
					return nil
				}
			}
			return fmt.Errorf("it is not in the log")
		})
	}
	writeFile(t, token, replicaToken)
	replica.db = filepath.Join(replica.dir, cases[0].db)
	awaitEqual(t, primary.node, replica)
	for _, c := range cases[1:] {
		if _, err := os.Stat(filepath.Join(replica.dir, c.db)); err == nil {
			t.Errorf("%s has a database", c.db)
		}
	}
	for _, n := range []*node{primary.node, replica} {
		for _, secret := range []string{replicaToken, otherToken, unknownToken} {
			if strings.Contains(n.logged(), secret) {
				t.Errorf("the %s's log has a token", n.name)
			}
		}
	}
}
