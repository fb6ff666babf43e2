package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/fuse"
	"weir/stream"
)

// pair is a primary and a replica of it, mounted by this process.
type pair struct {
	restarted bool // the replica was, and no reader has been checked since
	*testing.T
	names            []string // the databases, below the directories
	primary, replica node
	dbs              map[string]*database
	warned           *warnings

	cancel    context.CancelFunc // of the recorders
	following sync.WaitGroup
}

// database is one database as it is checked.
type database struct {
	name             string
	primary, replica *recorder
	reader           *conn        // on the replica's mount, opened when it is first needed
	last             *stream.Sums // committed, as of the last check
}

// node is one side of a pair.
type node struct {
	dir     string
	mounts  *fuse.Mounts // nil while weir is away
	http    *httptest.Server
	streams atomic.Pointer[stream.Server] // nil while weir is away
}

// ServeHTTP implements [http.Handler]. The address outlives the mounts.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s := n.streams.Load(); s != nil {
		s.ServeHTTP(w, r)
		return
	}
	http.Error(w, "away", http.StatusServiceUnavailable)
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// newPair mounts a pair with databases of the given names, by default one called db, that do not exist yet.
func newPair(t *testing.T, names ...string) *pair {
	t.Helper()
	if len(names) == 0 {
		names = []string{"db"}
	}
	base, err := os.MkdirTemp("", "pair-") // t.TempDir would walk into what is still mounted
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{T: t, names: names, dbs: make(map[string]*database), warned: &warnings{}}
	p.primary.dir, p.replica.dir = filepath.Join(base, "primary"), filepath.Join(base, "replica")
	for _, name := range names {
		p.dbs[name] = &database{name: name, primary: newRecorder(), replica: newRecorder(), last: stream.NewSums(0)}
	}
	p.primary.http, p.replica.http = httptest.NewServer(&p.primary), httptest.NewServer(&p.replica)
	t.Cleanup(func() {
		p.end()
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	p.mountPrimary()
	p.mountReplica()
	p.awaitReplica() // and its database has the primary's identity
	p.follow()
	return p
}

// awaitReplica waits until the replica is connected.
func (p *pair) awaitReplica() {
	p.Helper()
	for deadline := time.Now().Add(late); !p.replicaConnected(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatal("the replica does not connect")
		}
	}
}

func (p *pair) replicaConnected() bool {
	p.Helper()
	resp, err := http.Get(p.replica.http.URL + "/status")
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	var all []stream.Status
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		p.Fatal(err)
	}
	return !slices.ContainsFunc(all, func(s stream.Status) bool { return !s.Connected })
}

func (p *pair) logger() *slog.Logger { return slog.New(p.warned) }

func (p *pair) mountPrimary() {
	p.Helper()
	var dbs []fuse.Database
	for _, name := range p.names {
		dbs = append(dbs, fuse.Database{Path: p.primary.path(name)})
	}
	p.mount(&p.primary, dbs)
}

func (p *pair) mountReplica() {
	p.Helper()
	var dbs []fuse.Database
	for _, name := range p.names {
		up := &fuse.Upstream{URL: p.primary.http.URL, Path: p.primary.path(name)}
		dbs = append(dbs, fuse.Database{Path: p.replica.path(name), Upstream: up})
	}
	p.mount(&p.replica, dbs)
}

// mount mounts a node and serves it.
func (p *pair) mount(n *node, dbs []fuse.Database) {
	p.Helper()
	var err error
	cfg := fuse.Config{Databases: dbs, Logger: p.logger(), NoPassthrough: noPassthrough()}
	if n.mounts, err = fuse.Mount(context.Background(), cfg); err != nil {
		p.Fatal(err)
	}
	streams := stream.NewServer(stream.ServerOptions{Logger: p.logger()})
	n.mounts.Register(streams)
	n.streams.Store(streams)
}

// follow starts the recorders and waits until they are connected, so that they see every transaction from now on.
func (p *pair) follow() {
	p.Helper()
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	for _, db := range p.dbs {
		opt := stream.FollowOptions{Logger: slog.New(slog.DiscardHandler)}
		p.following.Go(func() { stream.Follow(ctx, p.primary.http.URL, p.primary.path(db.name), db.primary, opt) })
		p.following.Go(func() { stream.Follow(ctx, p.replica.http.URL, p.replica.path(db.name), db.replica, opt) })
	}
	for _, db := range p.dbs {
		if err := errors.Join(db.primary.start(), db.replica.start()); err != nil {
			p.Fatal(err)
		}
	}
}

// unfollow ends the recorders.
func (p *pair) unfollow() {
	if p.cancel != nil {
		p.cancel()
		p.following.Wait()
		p.cancel = nil
	}
}

// unmount ends a node.
func (n *node) unmount(how func(*fuse.Mounts, context.Context) error) error {
	if n.mounts == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := errors.Join(n.streams.Swap(nil).Close(), how(n.mounts, ctx)); err != nil {
		return err
	}
	n.mounts = nil
	return nil
}

// end unmounts everything, in order where the test has passed.
func (p *pair) end() {
	p.unfollow()
	p.closeReaders()
	how := (*fuse.Mounts).Unmount
	if p.Failed() {
		how = func(m *fuse.Mounts, _ context.Context) error { return m.UnmountLazily() }
	}
	for _, n := range []*node{&p.replica, &p.primary} {
		if err := n.unmount(how); err != nil {
			p.Error(err)
			n.mounts.UnmountLazily()
		}
		n.http.Close()
	}
	if text := p.warned.take(); text != "" {
		p.Errorf("weir warns: %s", text)
	}
}

func (p *pair) closeReaders() {
	for _, db := range p.dbs {
		if db.reader != nil {
			db.reader.kill()
			db.reader = nil
		}
	}
}

// open opens a database on the primary's mount, by default db.
func (p *pair) open(params ...string) *conn {
	p.Helper()
	return connect(p.T, p.primary.path(p.names[0]), params...)
}

// openReplica opens it on the replica's mount, when it is there.
func (p *pair) openReplica(params ...string) *conn {
	p.Helper()
	return connect(p.T, p.replica.path(p.names[0]), params...)
}

// run runs statements by a connection and checks after each.
func (p *pair) run(c *conn, statements ...string) {
	p.Helper()
	for _, s := range statements {
		c.sql(s)
		p.checkBy(c)
	}
}

// commit runs statements each of which is exactly one transaction.
func (p *pair) commit(c *conn, statements ...string) {
	p.Helper()
	for _, s := range statements {
		before := p.txid(c)
		p.run(c, s)
		if got := p.txid(c) - before; got != 1 {
			p.Errorf("%.100s: got %d transactions, want 1", s, got)
		}
	}
}

func (p *pair) txid(c *conn) stream.TXID {
	_, pos := p.dbs[filepath.Base(c.path)].primary.Pos()
	return pos.TXID
}

// check checks a database by a connection of its own.
func (p *pair) check() {
	p.Helper()
	for _, name := range p.names {
		c := connect(p.T, p.primary.path(name))
		p.checkBy(c)
		c.want("PRAGMA integrity_check", "ok")
		c.close()
	}
}

// checkBy compares what c sees with the streams and the replica. In a transaction the last committed state counts.
func (p *pair) checkBy(c *conn) {
	p.Helper()
	db := p.dbs[filepath.Base(c.path)]
	if !c.inTxn {
		db.last = c.see()
	}
	if err := db.checkStreams(); err != nil {
		p.Fatalf("%s: %v%s", db.name, err, p.warned.show())
	}
	if err := p.checkReader(db); err != nil {
		p.Fatalf("%s: a reader of the replica: %v%s", db.name, err, p.warned.show())
	}
}

// checkStreams waits until the primary's stream leads to the last state, and the replica's to the same position.
func (db *database) checkStreams() error {
	var pos stream.Pos
	err := db.primary.await(func() error {
		var got *stream.Sums
		pos, got = db.primary.seen()
		return diff(got, db.last)
	})
	if err != nil {
		return fmt.Errorf("the primary's stream at %s: %w", pos, err)
	}
	err = db.replica.await(func() error {
		_, pos = db.primary.Pos() // where SQLite pads the WAL there may be more that change nothing
		if _, got := db.replica.Pos(); got != pos {
			return fmt.Errorf("at %s, the primary's at %s", got, pos)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the replica's stream: %w", err)
	}
	return db.compareHistories()
}

// compareHistories compares all positions that both streams have shown.
func (db *database) compareHistories() error {
	db.primary.mu.Lock()
	defer db.primary.mu.Unlock()
	db.replica.mu.Lock()
	defer db.replica.mu.Unlock()
	for txid, want := range db.primary.history {
		if got, ok := db.replica.history[txid]; ok && got != want || !ok && db.replica.deltas+db.primary.deltas == 0 {
			return fmt.Errorf("the replica's stream has checksum %s at %s, the primary's %s", got, txid, want)
		}
	}
	return nil
}

// checkReader compares what a reader that stays open sees on the replica's mount.
func (p *pair) checkReader(db *database) error {
	if db.last.Len() == 0 {
		return nil
	}
	if db.reader == nil {
		db.reader = connect(p.T, p.replica.path(db.name))
	}
	err := diff(db.reader.read(), db.last)
	// After a restart a replica shows what its file has until it is compared with the upstream's.
	for end := time.Now().Add(5 * time.Second); err != nil && p.restarted && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		err = diff(db.reader.read(), db.last)
	}
	p.restarted = false
	return err
}

// deltas returns how often the streams of db were broken off.
func (p *pair) deltas() int {
	db := p.dbs[p.names[0]]
	return db.primary.deltas + db.replica.deltas
}

// warnings keeps what weir warns of. It is a [slog.Handler].
type warnings struct {
	mu   sync.Mutex
	text []string
}

// Enabled implements [slog.Handler].
func (w *warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s", a)
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, b.String())
	return nil
}

// WithAttrs implements [slog.Handler].
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler { return w }

// WithGroup implements [slog.Handler].
func (w *warnings) WithGroup(string) slog.Handler { return w }

// take returns what was warned of since the last call.
func (w *warnings) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.Join(w.text, "\n\t")
	w.text = nil
	return text
}

// show returns the warnings for a test's own message.
func (w *warnings) show() string {
	if text := w.take(); text != "" {
		return "\nweir warns: " + text
	}
	return ""
}

// expect takes the warnings that have all of the given words away; there must be one.
func (p *pair) expect(words ...string) {
	p.Helper()
	for deadline := time.Now().Add(late); p.forgive(words...) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatalf("weir gives no warning with %q", words)
		}
	}
}

// forgive takes the warnings that have all of the given words away and returns how many there were.
func (p *pair) forgive(words ...string) int {
	p.warned.mu.Lock()
	defer p.warned.mu.Unlock()
	n := len(p.warned.text)
	p.warned.text = slices.DeleteFunc(p.warned.text, func(text string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
	return n - len(p.warned.text)
}
