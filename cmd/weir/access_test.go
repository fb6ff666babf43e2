package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// raw sends a request as it stands, which Go's client would not, and returns the status and the body.
func (n *secureNode) raw(token, target string) (int, string) {
	n.t.Helper()
	c, err := tls.Dial("tcp", n.addr, clientOf(n.t, n.client))
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: weir\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", target, token)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		n.t.Fatalf("%.80s: %v", target, err)
	}
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(target, "/stream") {
		return resp.StatusCode, "" // without an end, for which the body's Close would wait
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%.80s: %v", target, err)
	}
	return resp.StatusCode, string(data)
}

// What is answered to whom: nothing shows a database to a token that may not read it.
func TestAnswers(t *testing.T) {
	primary := newSecureNode(t)
	primary.start()
	shell(t, primary.db, auditSchema)
	dir, db := primary.dir, primary.db
	long := strings.Repeat("a/", 5000)
	for _, tt := range []struct {
		token, target string
		status        int
		shows         bool // the database
	}{
		{replicaToken, "/", 200, true},
		{replicaToken, "/status", 200, true},
		{replicaToken, "/stream?path=" + db, 200, false},
		{replicaToken, "/stream?path=/srv/other/x.db", 403, false},
		{replicaToken, "/stream?path=" + db + "&path=/etc/passwd", 403, false},
		{replicaToken, "/status?db=/srv/other/x.db", 403, false},
		{otherToken, "/", 200, false},
		{otherToken, "/status", 200, false},
		{otherToken, "/stream", 400, false},
		{otherToken, "/stream?path=" + db, 403, false},
		{otherToken, "/stream?path=/srv/other/x.db", 404, false},
		{otherToken, "/stream?path=/srv/other/sub/x.db", 403, false},
		{otherToken, "/stream?path=/srv/other/..%2f..%2f.." + db, 403, false},
		{unknownToken, "/", 401, false},
		{unknownToken, "/status", 401, false},
		{unknownToken, "/stream?path=" + db, 401, false},
		{unknownToken, "/nothing", 401, false},
		{"", "/status", 401, false},
		{replicaToken + "x", "/status", 401, false},
		{replicaToken[1:], "/status", 401, false},
		// A path that is not the database's, letter by letter, is another.
		{replicaToken, "/stream?path=" + dir + "/./db", 403, false},
		{replicaToken, "/stream?path=" + dir + "/../" + dir[strings.LastIndex(dir, "/")+1:] + "/db", 403, false},
		{replicaToken, "/stream?path=" + dir + "/%2e%2e/db", 403, false},
		{replicaToken, "/stream?path=../../../../etc/passwd", 403, false},
		{replicaToken, "/stream?path=" + db + "%00", 403, false},
		{replicaToken, "/stream?path=" + db + "-wal", 403, false},
		{replicaToken, "/stream?path=" + dir + "/.weir/db/id", 403, false},
		{replicaToken, "/stream?path=/" + long, 403, false},
		{replicaToken, "/%2e%2e/%2e%2e/etc/passwd", 404, false},
		{replicaToken, "/etc/passwd", 404, false},
		{replicaToken, db, 404, false},
		{replicaToken, "/status?" + long + long + long, 431, false},
		{strings.Repeat("x", 40000), "/status", 431, false},
	} {
		status, body := primary.raw(tt.token, tt.target)
		if status != tt.status || strings.Contains(body, db) != tt.shows {
			t.Errorf("%.80s with token %.40q: got %d %s, want %d", tt.target, tt.token, status, body, tt.status)
		}
	}
	_, header, _ := primary.answer("", "/status")
	if got := strings.Join(header.Values("WWW-Authenticate"), "; "); !strings.HasPrefix(got, "Bearer ") || !strings.Contains(got, "; Basic ") {
		t.Errorf("got WWW-Authenticate %q, want Bearer and Basic", got)
	}
	if got, _, body := primary.answer("", openPath); got == http.StatusUnauthorized || strings.Contains(body, db) {
		t.Errorf("%s without a token: got %d %s", openPath, got, body)
	}
}

// The same where the token may read all: no path leads out of what is configured.
func TestPathsStayInside(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, auditSchema)
	for _, path := range []string{
		"/etc/passwd", "../../etc/passwd", "/../etc/passwd", primary.dir + "/../" + primary.dir + "/db", primary.dir + "//db",
		primary.dir + "/.", primary.dir, primary.db + "/", primary.db + "%00", "%00", "%2e%2e/%2e%2e/etc/passwd", primary.db + "-wal",
		primary.dir + "/.weir", primary.dir + "%2f..%2fdb", strings.Repeat("/a", 6000),
	} {
		if status, body := primary.get("GET", "/stream?path="+path); status != 404 || strings.Contains(body, "root:") {
			t.Errorf("%.80s: got %d %.80s, want 404", path, status, body)
		}
	}
	if status, _ := primary.get("GET", "/stream?path="); status != 400 {
		t.Errorf("no path: got %d, want 400", status)
	}
}

func TestTokenOf(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{"Bearer abc", "abc"},
		{"bearer abc", "abc"},
		{"Basic YW55OmFiYw==", "abc"}, // any:abc
		{"Basic abc", ""},
		{"Bearer", ""},
		{"abc", ""},
		{"", ""},
	} {
		r := &http.Request{Header: http.Header{"Authorization": {tt.header}}}
		if got, ok := tokenOf(r); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%q: got %q, %v, want %q", tt.header, got, ok, tt.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          bool
	}{
		{"/data/db", "/data/db", true},
		{"/data/db", "/data/db2", false},
		{"/data/*.db", "/data/a.db", true},
		{"/data/*.db", "/data/a/b.db", false},
		{"/data/*/db", "/data/a/db", true},
		{"/data/**", "/data/a/b.db", true},
		{"/data/**", "/data/../etc/db", false},
		{"/data/**", "/database", false},
		{"/data/**", "/data", false},
		{"/data/[a].db", "/data/[a].db", true},
	} {
		if got := matches(tt.pattern, tt.path); got != tt.want {
			t.Errorf("%s, %s: got %v, want %v", tt.pattern, tt.path, got, tt.want)
		}
	}
}

// An address that others reach, and that lacks something, is worth one warning, which says what to add.
func TestExposed(t *testing.T) {
	files := newAuthority(t, "weir test").sign("host", "127.0.0.1", soon())
	mutual, alone := &files, &tlsFiles{Cert: files.Cert, Key: files.Key}
	tokens := []tokenConfig{{Name: "replica", Token: tokenSource{Text: replicaToken}}}
	for _, tt := range []struct {
		addr   string
		tls    *tlsFiles
		tokens []tokenConfig
		want   string // "": no warning
	}{
		{"127.0.0.1:0", nil, nil, ""},
		{"[::1]:0", nil, nil, ""},
		{":0", nil, nil, "add tls (-tls-cert, -tls-key) and tokens (-token-file), or listen on 127.0.0.1"},
		{"0.0.0.0:0", nil, tokens, "add tls (-tls-cert, -tls-key), or listen on 127.0.0.1"},
		{":0", alone, nil, "add tokens (-token-file), or tls.client-ca (-tls-client-ca)"},
		{":0", alone, tokens, ""},
		{":0", mutual, nil, ""},
	} {
		var out bytes.Buffer
		s, err := listen(&config{Addr: tt.addr, TLS: tt.tls, Tokens: tt.tokens}, slog.New(slog.NewTextHandler(&out, nil)))
		if err != nil {
			t.Fatal(err)
		}
		s.close()
		text := out.String()
		if strings.Count(text, "level=WARN") != min(len(tt.want), 1) || !strings.Contains(text, tt.want) || tt.want != "" && !strings.Contains(text, s.listener.Addr().String()) {
			t.Errorf("%s, %v, %v: got %q, want %q", tt.addr, tt.tls, tt.tokens, text, tt.want)
		}
	}
}

// silentServer serves with TLS, as weir does, in this process.
func silentServer(t *testing.T, change func(*http.Server)) (addr string) {
	t.Helper()
	files := newAuthority(t, "weir test").sign("host", "127.0.0.1", soon())
	s, err := listen(&config{Addr: "127.0.0.1:0", TLS: &tlsFiles{Cert: files.Cert, Key: files.Key}}, discard)
	if err != nil {
		t.Fatal(err)
	}
	change(s.http)
	ended := make(chan error, 1)
	go func() { ended <- s.serve() }()
	t.Cleanup(func() { s.close(); <-ended })
	return s.listener.Addr().String()
}

// dialSilently returns a connection on which nothing was sent but, perhaps, the beginning of a handshake.
func dialSilently(t *testing.T, addr, first string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, first); err != nil {
		t.Fatal(err)
	}
	return c
}

// awaitClosed waits until the other side has closed a connection.
func awaitClosed(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); os.IsTimeout(err) {
		t.Error("the connection stays open")
	}
}

// A handshake that does not come to its end is given up.
func TestHandshakeTimeout(t *testing.T) {
	addr := silentServer(t, func(s *http.Server) {
		if s.ReadHeaderTimeout != headerTimeout {
			t.Errorf("got %v for a header, and so for a handshake, want %v", s.ReadHeaderTimeout, headerTimeout)
		}
		s.ReadHeaderTimeout = 200 * time.Millisecond
	})
	awaitClosed(t, dialSilently(t, addr, ""))
	awaitClosed(t, dialSilently(t, addr, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
}

// Connections without a handshake count, and the longest silent one goes first.
func TestHandshakesAreLimited(t *testing.T) {
	limit := newConnLimit()
	limit.max = 3
	addr := silentServer(t, func(s *http.Server) { s.ConnState = limit.changed })
	first := dialSilently(t, addr, "")
	for range limit.max {
		dialSilently(t, addr, "\x16\x03\x01")
	}
	began := time.Now()
	awaitClosed(t, first)
	if took := time.Since(began); took >= headerTimeout {
		t.Errorf("the connection stayed for %v: nothing but the timeout has closed it", took)
	}
}
