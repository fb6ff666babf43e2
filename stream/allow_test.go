package stream

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const hiddenPath = "/data/hidden"

// serveSome serves up twice, and who has no key reads none, who has one reads all but hiddenPath.
func serveSome(t *testing.T, up Database) (url string, key *atomic.Pointer[string]) {
	t.Helper()
	key = new(atomic.Pointer[string])
	first := "first"
	key.Store(&first)
	s := NewServer(ServerOptions{
		Logger: testLogger(t), Heartbeat: 20 * time.Millisecond,
		Allow: func(r *http.Request, path string) bool {
			return path != hiddenPath && r.Header.Get("Key") == *key.Load()
		},
	})
	s.Add(testPath, up)
	s.Add(hiddenPath, up)
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		h.Close()
	})
	return h.URL, key
}

func getWithKey(t *testing.T, url, key string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// No answer shows a database that the request may not read: not that it is there, and not that it is not.
func TestAllow(t *testing.T) {
	up, _ := pair(t)
	url, _ := serveSome(t, up)
	for _, tt := range []struct {
		key, target string
		status      int
		shows       bool // testPath
	}{
		{"first", "/", 200, true},
		{"first", "/status", 200, true},
		{"first", "/stream", 400, true},
		{"first", "/stream?path=/no/such", 404, true},
		{"first", "/stream?path=/data/%68idden", 403, true},
		{"none", "/", 200, false},
		{"none", "/status", 200, false},
		{"none", "/stream", 400, false},
		{"none", "/stream?path=/no/such", 403, false},
	} {
		resp := getWithKey(t, url+tt.target, tt.key)
		if resp.StatusCode != tt.status {
			t.Errorf("%s with key %s: got %s, want %d", tt.target, tt.key, resp.Status, tt.status)
			continue // it may be a stream, which has no end
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		// What was asked for is repeated, and the index has an example.
		said := strings.NewReplacer(hiddenPath+" may not", "", "path=%2Fdata%2Fdb", "").Replace(string(b))
		if strings.Contains(said, testPath) != tt.shows || strings.Contains(said, hiddenPath) {
			t.Errorf("%s with key %s: got %s", tt.target, tt.key, b)
		}
	}
}

// A stream ends when it may not be read any more.
func TestAllowNoMore(t *testing.T) {
	up, _ := pair(t)
	url, key := serveSome(t, up)
	resp := getWithKey(t, url+"/stream?path="+testPath, "first")
	if resp.StatusCode != 200 {
		t.Fatalf("got %s, want a stream", resp.Status)
	}
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, resp.Body); ended <- err }()
	select {
	case err := <-ended:
		t.Fatalf("the stream has ended: %v", err)
	case <-time.After(100 * time.Millisecond): // some heartbeats
	}
	second := "second"
	key.Store(&second)
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the stream goes on")
	}
}
