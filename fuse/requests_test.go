package fuse

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/stream"
)

// kinds are numbers of requests, by kind.
type kinds map[string]int

func (k kinds) String() string {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(k)) {
		parts = append(parts, fmt.Sprintf("%d %s", k[kind], kind))
	}
	return strings.Join(parts, ", ")
}

// requests counts what the kernel asks for, as the log of all requests names it.
type requests struct {
	mu    sync.Mutex
	kinds kinds // Guarded by mu.
}

var _ = (slog.Handler)((*requests)(nil))

func (r *requests) Enabled(_ context.Context, level slog.Level) bool {
	return level == stream.LevelTrace
}
func (r *requests) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *requests) WithGroup(string) slog.Handler      { return r }

// Handle counts lines like "rx 42: FSYNC n2 {Fh 1}".
func (r *requests) Handle(_ context.Context, line slog.Record) error {
	if words := strings.Fields(line.Message); len(words) > 2 && words[0] == "rx" {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.kinds[words[2]]++
	}
	return nil
}

// unwaited are the kinds that no app waits for.
var unwaited = []string{"RELEASE", "RELEASEDIR", "FORGET", "BATCH_FORGET"}

// each counts the requests that an app waits for when s runs SQL, on average.
func (r *requests) each(s *shell, sql string) kinds {
	const warm, n = 5, 100
	s.run(strings.Repeat(sql+";\n", warm))
	r.take()
	s.run(strings.Repeat(sql+";\n", n))
	got := r.take()
	for kind, all := range got {
		got[kind] = (all + n/2) / n // an insert now and then writes a page more
	}
	maps.DeleteFunc(got, func(kind string, each int) bool { return each == 0 || slices.Contains(unwaited, kind) })
	return got
}

// take returns what was counted since the last call.
func (r *requests) take() kinds {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.kinds
	r.kinds = make(kinds)
	return was
}

// Every request costs an app a round trip to the daemon, some 20 microseconds. Those for the root's attributes, and to
// look the journal up, come of the directory's changes; SETATTR is root's chown of a journal.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		mode, sync      string
		passed, cached  kinds // an insert, with FUSE passthrough and without
		reads, uncached kinds // a read
	}{
		{mode: "WAL", sync: "NORMAL", cached: kinds{"WRITE": 6}},
		{mode: "WAL", sync: "FULL", passed: kinds{"FSYNC": 1}, cached: kinds{"FSYNC": 1, "WRITE": 6}},
		{mode: "DELETE", sync: "FULL",
			passed: kinds{"GETATTR": 3, "LOOKUP": 1, "CREATE": 1, "SETATTR": 1, "OPENDIR": 1, "FSYNCDIR": 1, "FSYNC": 3, "WRITE": 3, "UNLINK": 1},
			cached: kinds{"GETATTR": 4, "LOOKUP": 1, "CREATE": 1, "SETATTR": 1, "OPENDIR": 1, "FSYNCDIR": 1, "FSYNC": 3, "WRITE": 17, "UNLINK": 1}},
		{mode: "TRUNCATE", sync: "FULL",
			passed: kinds{"GETATTR": 1, "OPEN": 1, "SETATTR": 2, "OPENDIR": 1, "FSYNCDIR": 1, "FSYNC": 4, "WRITE": 3},
			cached: kinds{"GETATTR": 2, "OPEN": 1, "SETATTR": 2, "OPENDIR": 1, "FSYNCDIR": 1, "FSYNC": 4, "WRITE": 17}},
		{mode: "PERSIST", sync: "FULL",
			passed: kinds{"GETATTR": 3, "OPEN": 2, "SETATTR": 2, "OPENDIR": 1, "FSYNCDIR": 1, "FSYNC": 4, "WRITE": 3},
			cached: kinds{"GETATTR": 3, "OPEN": 2, "SETATTR": 2, "OPENDIR": 1, "FSYNCDIR": 1, "FSYNC": 4, "WRITE": 17},
			// SQLite opens the journal to see whether it is hot.
			reads: kinds{"GETATTR": 1, "OPEN": 1, "SETATTR": 1}, uncached: kinds{"OPEN": 1, "SETATTR": 1}},
	} {
		t.Run(c.mode+"/"+c.sync, func(t *testing.T) {
			if passthrough() == PassthroughOff {
				c.passed, c.reads = c.cached, c.uncached
			}
			r := &requests{kinds: make(kinds)}
			p := mountLogged(t, slog.New(r), nil)
			s := p.shell()
			s.run(fmt.Sprintf("PRAGMA journal_mode=%s; PRAGMA synchronous=%s; CREATE TABLE t(id INTEGER PRIMARY KEY, k, v); CREATE INDEX i ON t(k)", c.mode, c.sync))
			compareKinds(t, "an insert", r.each(s, "INSERT INTO t(k, v) VALUES(random(), hex(randomblob(96)))"), c.passed)
			const uncachedPages, read = "PRAGMA cache_size=2", "SELECT length(v) FROM t WHERE id = 1 + abs(random() % 100)"
			s.run(uncachedPages)
			compareKinds(t, "a read", r.each(s, read), c.reads)
			follower := mountFollower(p).shell()
			follower.run(uncachedPages)
			compareKinds(t, "a read on a replica", r.each(follower, read), nil)
		})
	}
}

// A checkpoint of a database that is passed through asks for what it begins and ends with, however many pages it copies.
func TestCheckpointRequests(t *testing.T) {
	if passthrough() == PassthroughOff {
		t.Skip("nothing is passed through")
	}
	r := &requests{kinds: make(kinds)}
	p := mountLogged(t, slog.New(r), nil)
	s := p.shell()
	s.run("PRAGMA journal_mode=WAL; CREATE TABLE t(a)")
	s.close()
	waitReleased(t, p)
	s = p.shell()
	const insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200) INSERT INTO t SELECT zeroblob(3000) FROM n"
	s.run("PRAGMA wal_autocheckpoint=0;" + insert + "; PRAGMA wal_checkpoint;" + insert)
	r.take()
	s.run("PRAGMA wal_checkpoint")
	got := r.take()
	maps.DeleteFunc(got, func(kind string, _ int) bool { return slices.Contains(unwaited, kind) })
	compareKinds(t, "a checkpoint of 200 pages", got, kinds{"FSYNC": 2, "GETATTR": 1, "SETATTR": 1})
}

// waitReleased waits until no handle of the database is left.
func waitReleased(t *testing.T, p *primary) {
	t.Helper()
	io := &p.mounts.dirs[0].inode("db").Operations().(*node).io
	for deadline := time.Now().Add(10 * time.Second); io.handles.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d handles are left, %d of them apps'", io.handles.Load(), io.apps.Load())
		}
	}
}

// compareKinds fails where there are more requests than wanted, or fewer that write or sync.
func compareKinds(t *testing.T, what string, got, want kinds) {
	t.Helper()
	t.Logf("%s: %s", what, got)
	for kind := range maps.Keys(got) {
		if got[kind] > want[kind] {
			t.Errorf("%s: %d %s, want %d", what, got[kind], kind, want[kind])
		}
	}
	for _, kind := range []string{"WRITE", "FSYNC", "FSYNCDIR"} {
		if got[kind] < want[kind] {
			t.Errorf("%s: %d %s, want %d", what, got[kind], kind, want[kind])
		}
	}
}

// mountFollower mounts a replica of p, logged as p is.
func mountFollower(p *primary) *primary {
	p.Helper()
	streams := stream.NewServer(stream.ServerOptions{Logger: p.logger})
	p.mounts.Register(streams)
	server := httptest.NewServer(streams)
	p.Cleanup(func() { streams.Close(); server.Close() })
	replica := mountLogged(p.T, p.logger, &Upstream{URL: server.URL, Path: p.path})
	ctx, cancel := context.WithTimeout(p.Context(), time.Minute)
	defer cancel()
	if err := replica.mounts.Ready(ctx); err != nil {
		p.Fatal(err)
	}
	return replica
}
