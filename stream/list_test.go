package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// testDirectory is a Directory of /data.
type testDirectory struct {
	id      string
	unknown atomic.Pointer[string] // why it is not whole
}

func (d *testDirectory) Dir() string { return "/data" }
func (d *testDirectory) ID() string  { return d.id }
func (d *testDirectory) Status() Status {
	return Status{Path: "/data/*", Role: RoleDirectory, Ready: true}
}

func (d *testDirectory) Whole() error {
	if why := d.unknown.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// told is what a Lister is told.
type told struct {
	lists chan List
	errs  chan error // of SetConnected; nil when it is connected
	fail  atomic.Int32
}

func (l *told) Listed(ctx context.Context, list List) error {
	if l.fail.Add(-1) >= 0 {
		return errors.New("the disk is full")
	}
	select {
	case l.lists <- list:
	case <-ctx.Done():
	}
	return nil
}

func (l *told) SetConnected(connected bool, err error) {
	select {
	case l.errs <- err:
	default:
	}
}

func (l *told) want(t *testing.T, id string, names ...string) {
	t.Helper()
	select {
	case got := <-l.lists:
		if got.ID != id || !slices.Equal(got.Databases, names) {
			t.Fatalf("got %q of %q, want %q of %q", got.Databases, got.ID, names, id)
		}
	case <-time.After(time.Minute):
		t.Fatalf("got no list, want %q", names)
	}
}

// wantError waits for an error that has text.
func (l *told) wantError(t *testing.T, text string) {
	t.Helper()
	for end := time.After(time.Minute); ; {
		select {
		case err := <-l.errs:
			if err != nil && strings.Contains(err.Error(), text) {
				return
			}
		case <-end:
			t.Fatalf("got no error that has %q", text)
		}
	}
}

// follow has a Lister follow dir of the server at url.
func followTestList(t *testing.T, url, dir string) *told {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	to, done := &told{lists: make(chan List), errs: make(chan error, 100)}, make(chan struct{})
	go func() {
		defer close(done)
		FollowList(ctx, url, dir, to, FollowOptions{Logger: testLogger(t), Timeout: 200 * time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return to
}

// A follower of a directory is told what it has at first, and whenever that changes; what it does not take over is told
// again, and where the upstream does not know nothing is told.
func TestFollowList(t *testing.T) {
	up, _ := pair(t)
	s := NewServer(ServerOptions{Logger: testLogger(t)})
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		h.Close()
	})
	d := &testDirectory{id: NewID()}
	d.unknown.Store(new("the upstream has not answered"))
	s.AddDirectory(d)
	s.Add("/data/b", up)
	s.Add("/database", up)
	to := followTestList(t, h.URL, "/data")
	to.wantError(t, "the upstream has not answered")
	d.unknown.Store(nil)
	to.want(t, d.id, "b")
	s.Add("/data/sub/a", up)
	to.want(t, d.id, "b", "sub/a")
	to.fail.Store(1)
	s.Remove("/data/b")
	to.wantError(t, "the disk is full")
	to.want(t, d.id, "sub/a")
	below := followTestList(t, h.URL, "/data/sub")
	below.want(t, d.id, "a")
	other := followTestList(t, h.URL, "/")
	other.want(t, "", "data/sub/a", "database")
	s.Close()
	to.wantError(t, "stopping")
	select {
	case l := <-to.lists:
		t.Errorf("got %v from a server that has stopped", l)
	default:
	}
}

// What leads out of the directory, or is no list, is not taken.
func TestFollowListOfOther(t *testing.T) {
	for _, answer := range []string{
		`{"hash":"x","databases":["../x"]}`, `{"hash":"x","databases":["/x"]}`, `{"hash":"x","databases":["a/../../x"]}`, `{"hash":"x","databases":["."]}`,
		`{"hash":"x","databases":[""]}`, `{"hash":"x","databases":["` + strings.Repeat("x", maxListedName+1) + `"]}`,
		`{"hash":"x","id":"../x","databases":["a"]}`, `[]`, ``,
		`{"hash":"x","databases":[` + strings.Repeat(`"a",`, maxListed) + `"a"]}`,
	} {
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
		to := followTestList(t, h.URL, "/data")
		select {
		case l := <-to.lists:
			t.Errorf("%.60s: got %v, want an error", answer, l)
		case err := <-to.errs:
			if err == nil {
				t.Errorf("%.60s: got no error", answer)
			}
		}
		h.Close()
	}
}

// A request is shown what it may read. One whose credentials are no longer valid is not told that nothing is there.
func TestListAllow(t *testing.T) {
	up, _ := pair(t)
	var revoked atomic.Bool
	s := NewServer(ServerOptions{
		Logger: testLogger(t),
		Allow:  func(_ *http.Request, path string) bool { return !revoked.Load() && path != hiddenPath },
		Admit:  func(*http.Request) bool { return !revoked.Load() },
	})
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		h.Close()
	})
	s.Add("/data/a", up)
	s.Add(hiddenPath, up)
	get := func(query string) (int, string) {
		t.Helper()
		resp, err := http.Get(h.URL + "/list?" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	status, body := get("dir=/data")
	var l List
	if err := json.Unmarshal([]byte(body), &l); err != nil || status != 200 || fmt.Sprint(l.Databases) != "[a]" {
		t.Errorf("got %d %s, %v, want a alone", status, body, err)
	}
	for _, query := range []string{"", "dir=data", "dir=/data&wait=1h", "dir=/data&wait=-1s", "dir=/data&wait=x"} {
		if status, body := get(query); status != http.StatusBadRequest {
			t.Errorf("%q: got %d %s, want %d", query, status, body, http.StatusBadRequest)
		}
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		revoked.Store(true)
		s.Relist()
	}()
	if status, body := get("dir=/data&wait=1m&have=" + l.Hash); status != http.StatusForbidden {
		t.Errorf("credentials that become invalid: got %d %s, want %d", status, body, http.StatusForbidden)
	}
}
