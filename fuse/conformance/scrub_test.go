package conformance

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/fuse/fusetest"
)

const fillScrubbed = "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50) INSERT INTO t SELECT randomblob(2000) FROM n"

// newScrubbed mounts a pair with a database, and then a node again, which reads its database in full all the time; below is
// the directory under its mount.
func newScrubbed(t *testing.T, node func(p *pair) *fusetest.Node) (p *pair, c *conn, below *os.Root) {
	t.Helper()
	p = newPair(t)
	c = p.open()
	p.run(c, strings.Split(fillScrubbed, ";")...)
	c.close()
	n := node(p)
	p.restart(n, func() { // a replica's pages are in its database file now, not in its WAL
		var err error
		below, err = os.OpenRoot(n.Dir)
		p.must(err)
		t.Cleanup(func() { below.Close() })
		p.ScrubEvery = 50 * time.Millisecond
	})
	return p, p.open(), below
}

// A page that rots on a live replica's disk is found, named, and comes from the primary again.
func TestFollowLostPage(t *testing.T) {
	p, c, below := newScrubbed(t, func(p *pair) *fusetest.Node { return &p.Replica })
	for _, pgno := range []int64{5, 7, 20} {
		p.rot(below, pgno)
		page := strconv.Itoa(int(pgno))
		p.expect("a page of the database is damaged", "page="+page)
		p.expect("pages of the database were replaced", "pages=["+page+"]", "count=1")
		p.expect("disconnected", "damaged pages of "+p.Replica.Path("db")+": 1, the first is "+page)
		p.run(c, "INSERT INTO t VALUES (randomblob(100))")
	}
	c.close()
}

// A page that rots on a live primary's disk is named, and all else goes on.
func TestPrimaryLostPage(t *testing.T) {
	p, c, below := newScrubbed(t, func(p *pair) *fusetest.Node { return &p.Primary })
	p.rot(below, 5)
	const said = "it is not what was written"
	p.expect(said, "page=5")
	before := p.txid(c)
	c.sql("INSERT INTO t VALUES (randomblob(100))")
	p.must(p.first().Replica.Await(fusetest.Late, func() error {
		if _, pos := p.first().Replica.Pos(); pos.TXID != before+1 {
			return fmt.Errorf("the replica's stream is at %s, want it after %s", pos, before)
		}
		return nil
	}))
	p.rot(below, 5) // as it was
	c.close()
	p.closeReaders()
	p.must(p.Unmount())
	p.Warnings.Forgive(said)
}

// rot changes a byte of a page of a database below a mount.
func (p *pair) rot(below *os.Root, pgno int64) {
	p.Helper()
	f, err := below.OpenFile("db", os.O_RDWR, 0)
	p.must(err)
	defer f.Close()
	b := make([]byte, 1)
	off := (pgno-1)*4096 + 1000
	_, err = f.ReadAt(b, off)
	p.must(err)
	b[0] ^= 32
	_, err = f.WriteAt(b, off)
	p.must(err)
}
