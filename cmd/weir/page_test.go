package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

const browserAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// pageServer serves in this process what a weir serves that has no database.
func pageServer(t *testing.T) *httptest.Server {
	t.Helper()
	s, err := newServer(new(config), discard)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.access)
	t.Cleanup(func() { h.Close(); s.stream.Close() })
	return h
}

// ask makes a request with headers in pairs of name and value.
func ask(t *testing.T, method, url string, header ...string) (resp *http.Response, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(data)
}

// TestPageFiles gets the page and all that it names: only files of this server, with a policy that allows no others.
func TestPageFiles(t *testing.T) {
	h := pageServer(t)
	resp, page := ask(t, "GET", h.URL, "Accept", browserAccept)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || resp.Header.Get("Vary") != "Accept" {
		t.Errorf("got %s and %v", resp.Status, resp.Header)
	}
	if inline := regexp.MustCompile(`(?i)<style|<script>|\son\w+=|\sstyle=|javascript:|://`).FindString(page); inline != "" {
		t.Errorf("the page has %q, which its policy forbids", inline)
	}
	links := regexp.MustCompile(`(?:href|src)="(page/[^"]*)"`).FindAllStringSubmatch(page, -1)
	queue := []string{"page/uPlot.LICENSE.txt"}
	for _, link := range links {
		queue = append(queue, link[1])
	}
	seen := make(map[string]bool)
	for ; len(queue) > 0; queue = queue[1:] {
		file := queue[0]
		if seen[file] {
			continue
		}
		seen[file] = true
		resp, body := ask(t, "GET", h.URL+"/"+file)
		if resp.StatusCode != 200 || body == "" {
			t.Errorf("/%s: got %s and %d bytes", file, resp.Status, len(body))
		}
		requirePageHeader(t, file, resp.Header)
		for _, imported := range regexp.MustCompile(`(?m)^import .* from "\./(.*)";$`).FindAllStringSubmatch(body, -1) {
			queue = append(queue, "page/"+imported[1])
		}
	}
	files, err := pageFiles.ReadDir("page")
	if err != nil || len(seen) != len(files)-1 { // all but index.html
		t.Errorf("got %v, %v, want that the page leads to all of %v", seen, err, files)
	}
	if _, licence := ask(t, "GET", h.URL+"/page/uPlot.LICENSE.txt"); !strings.Contains(licence, "MIT") || !strings.Contains(licence, "Leon Sorokin") {
		t.Errorf("got the licence %q", licence)
	}
}

func requirePageHeader(t *testing.T, file string, h http.Header) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy":      "default-src 'none'; script-src 'self'; ",
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-cache",
		"Etag":                         `"`,
	} {
		if got := h.Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("/%s: got %s %q, want %q", file, name, got, want)
		}
	}
	if policy := h.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("/%s: got the policy %q", file, policy)
	}
	for end, want := range pageTypes {
		if got := h.Get("Content-Type"); strings.HasSuffix(file, end) && got != want {
			t.Errorf("/%s: got the type %q, want %q", file, got, want)
		}
	}
}

// TestPageAnswers asks for what is there and what is not.
func TestPageAnswers(t *testing.T) {
	h := pageServer(t)
	for _, tt := range []struct {
		method, target string
		accept         string
		status         int
		html           bool
	}{
		{"GET", "/", browserAccept, 200, true},
		{"GET", "/?x=1", browserAccept, 200, true},
		{"GET", "/", "*/*", 200, false},
		{"GET", "/", "", 200, false},
		{"GET", "/", "text/plain", 200, false},
		{"HEAD", "/", browserAccept, 200, false},
		{"POST", "/", browserAccept, 405, false},
		{"GET", "/index.html", browserAccept, 404, false},
		{"GET", "/page", browserAccept, 404, false},
		{"GET", "/page/", browserAccept, 404, false},
		{"GET", "/page/nothing.js", browserAccept, 404, false},
		{"GET", "/page/main.js/", browserAccept, 404, false},
		{"GET", "/page/..%2fpage.go", browserAccept, 404, false},
		{"POST", "/page/main.js", browserAccept, 404, false},
		{"GET", "/nothing", browserAccept, 404, false},
		{"GET", "/favicon.ico", browserAccept, 404, false},
	} {
		resp, body := ask(t, tt.method, h.URL+tt.target, "Accept", tt.accept)
		if resp.StatusCode != tt.status || strings.HasPrefix(body, "<!doctype html>") != tt.html {
			t.Errorf("%s %s for %q: got %s and %.60q, want %d", tt.method, tt.target, tt.accept, resp.Status, body, tt.status)
		}
	}
	if _, text := ask(t, "GET", h.URL, "Accept", "*/*"); !strings.Contains(text, "curl") {
		t.Errorf("without a browser: got %q, want text", text)
	}
	resp, _ := ask(t, "GET", h.URL+"/page/main.js")
	if resp, body := ask(t, "GET", h.URL+"/page/main.js", "If-None-Match", resp.Header.Get("Etag")); resp.StatusCode != 304 || body != "" {
		t.Errorf("the same file again: got %s and %d bytes, want 304", resp.Status, len(body))
	}
}

// TestPageTokens gets the page with tokens: none of its files without one, and nothing in it of any database.
func TestPageTokens(t *testing.T) {
	n := newNode(t, "primary")
	n.configure("addr: %q\ntokens:\n  - {name: a, token: %s, dbs: [%q]}\n  - {name: b, token: %s, dbs: [/srv/other]}\ndbs:\n  - path: %s\n", n.addr, replicaToken, n.db, otherToken, n.db)
	n.start()
	for _, tt := range []struct {
		target, token string
		status        int
		shows         bool // the database
	}{
		{"/", "", 401, false},
		{"/page/main.js", "", 401, false},
		{"/page/page.css", unknownToken, 401, false},
		{"/", unknownToken, 401, false},
		{"/", otherToken, 200, false},
		{"/", replicaToken, 200, false},
		{"/page/main.js", otherToken, 200, false},
		{"/status", otherToken, 200, false},
		{"/status", replicaToken, 200, true},
	} {
		for _, scheme := range []string{"Bearer", "Basic"} {
			header := []string{"Accept", browserAccept}
			if tt.token != "" {
				header = append(header, "Authorization", authorization(scheme, tt.token))
			}
			resp, body := ask(t, "GET", "http://"+n.addr+tt.target, header...)
			if resp.StatusCode != tt.status || strings.Contains(body, n.db) != tt.shows {
				t.Errorf("%s with token %q (%s): got %s and %.200q, want %d", tt.target, tt.token, scheme, resp.Status, body, tt.status)
			}
			if asks := strings.Contains(fmt.Sprint(resp.Header["Www-Authenticate"]), "Basic "); asks != (tt.status == 401) {
				t.Errorf("%s: got %v, want that a browser asks for a token where there is none", tt.target, resp.Header)
			}
		}
	}
}

func authorization(scheme, token string) string {
	if scheme == "Bearer" {
		return "Bearer " + token
	}
	r := &http.Request{Header: make(http.Header)}
	r.SetBasicAuth("anyone", token)
	return r.Header.Get("Authorization")
}
