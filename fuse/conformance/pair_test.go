package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/fuse/fusetest"
	"weir/stream"
)

// passthrough is how this package's tests mount.
var passthrough = fusetest.PassthroughOfEnvironment()

// pair is a primary and a replica of it, mounted by this process.
type pair struct {
	*testing.T
	*fusetest.Pair
	dbs map[string]*database
}

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
	p := &pair{T: t, Pair: fusetest.NewPair(base, passthrough, false, names...), dbs: make(map[string]*database)}
	for _, db := range p.Databases {
		p.dbs[db.Name] = &database{Database: db, last: stream.NewSums(0)}
	}
	t.Cleanup(func() {
		p.end()
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	if err := p.Mount(); err != nil {
		t.Fatal(err)
	}
	return p
}

// end unmounts everything, in order where the test has passed.
func (p *pair) end() {
	p.closeReaders()
	if !p.Failed() {
		if err := p.Unmount(); err != nil {
			p.Error(err)
		}
	}
	if err := p.Close(); err != nil {
		p.Error(err)
	}
	if err := p.Warnings.Take(); err != nil {
		p.Error(err)
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

// first is the database that a test with one database is about.
func (p *pair) first() *database { return p.dbs[p.Databases[0].Name] }

// open opens the first database on the primary's mount.
func (p *pair) open(params ...string) *conn {
	p.Helper()
	return connect(p.T, p.Primary.Path(p.first().Name), params...)
}

// openReplica opens it on the replica's mount, when it is there.
func (p *pair) openReplica(params ...string) *conn {
	p.Helper()
	return connect(p.T, p.Replica.Path(p.first().Name), params...)
}

// run runs statements by a connection and checks after each. One is at most one transaction, which leads from the last
// state to the next: there is no other between.
func (p *pair) run(c *conn, statements ...string) {
	p.Helper()
	for _, s := range statements {
		before, known := p.txid(c), !c.unchecked && !strings.Contains(s, ";")
		c.sql(s)
		p.checkBy(c)
		if got := p.txid(c) - before; got > 1 && known {
			p.Errorf("%.100s: got %d transactions, want 1 or none", s, got)
		}
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
	_, pos := p.dbs[filepath.Base(c.path)].Primary.Pos()
	return pos.TXID
}

// restart ends weir on one node, runs meanwhile, and starts it again.
func (p *pair) restart(n *fusetest.Node, meanwhile func()) {
	p.Helper()
	p.closeReaders()
	if err := n.Unmount(); err != nil {
		p.Fatal(err)
	}
	meanwhile()
	if n == &p.Primary {
		p.must(p.MountPrimary())
		p.must(p.AwaitReplica())
		p.Warnings.Forgive("disconnected")
	} else {
		p.must(p.MountReplica())
	}
}

func (p *pair) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// expect takes the warnings that have all of the given words away; there must be one.
func (p *pair) expect(words ...string) {
	p.Helper()
	p.must(p.Warnings.Expect(fusetest.Late, words...))
}
