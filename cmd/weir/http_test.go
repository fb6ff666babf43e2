package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"weir/stream"
)

// get returns the status and the body of a request to the node. It is for answers that end.
func (n *node) get(method, target string) (status int, body string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, "http://"+n.addr+target, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	client := http.DefaultClient
	if n.line != nil {
		client = n.line.client()
	}
	resp, err := client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		n.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// status is what the node says of its database.
func (n *node) status() (stream.Status, error) {
	_, body := n.get("GET", "/status")
	var all []stream.Status
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		return stream.Status{}, err
	}
	if len(all) != 1 {
		return stream.Status{}, fmt.Errorf("got %d databases, want one: %s", len(all), body)
	}
	return all[0], nil
}

// awaitStatus waits until the node's status is as wanted.
func (n *node) awaitStatus(what string, wanted func(stream.Status) bool) {
	n.t.Helper()
	n.eventually(what, func() error {
		st, err := n.status()
		if err == nil && !wanted(st) {
			err = fmt.Errorf("got %+v", st)
		}
		return err
	})
}

func TestHTTP(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, auditSchema)
	awaitEqual(t, primary, replica)
	for _, n := range []*node{primary, replica} {
		for _, tt := range []struct {
			method, target string
			status         int
			want           string // part of the text
		}{
			{"GET", "/", 200, n.db},
			{"GET", "/", 200, "curl"},
			{"GET", "/nothing", 404, ""},
			{"GET", "/stream", 400, "path"},
			{"GET", "/stream?path=/no/such/db", 404, n.db},
			{"GET", "/stream?path=" + n.db + "&pos=x", 400, "pos"},
			{"DELETE", "/stream?path=" + n.db, 405, ""},
			{"GET", "/stream?path=../../etc/passwd", 404, n.db},
		} {
			status, body := n.get(tt.method, tt.target)
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%s %s on the %s: got %d and %q, want %d and %q", tt.method, tt.target, n.name, status, body, tt.status, tt.want)
			}
		}
	}
}

func TestStatus(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	var positions []string
	for _, n := range []*node{primary, replica} {
		_, body := n.get("GET", "/status")
		var list []struct {
			Path, Role, Pos string
			Connected       bool
		}
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if len(list) != 1 || list[0].Path != n.db || list[0].Role != n.name {
			t.Fatalf("got %s, want one entry, %s of %s", body, n.name, n.db)
		}
		if n == replica && !list[0].Connected {
			t.Errorf("got %s, want it connected", body)
		}
		positions = append(positions, list[0].Pos)
	}
	if positions[0] != positions[1] || positions[0] == "" {
		t.Errorf("got positions %q, want the same", positions)
	}
}
