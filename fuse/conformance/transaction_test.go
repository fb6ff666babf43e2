package conformance

import (
	"fmt"
	"sync"
	"testing"

	"weir/fuse/fusetest"
)

// A cache of 5 pages spills a transaction's pages before its end.
const spill = "PRAGMA cache_size = 5; PRAGMA cache_spill = 1"

// Every row's pages, many times the cache.
const updateAll = "UPDATE t SET v = v + 1, b = randomblob(1500)"

// eachMode runs a test in every journaled mode with a seeded database and a connection that spills.
func eachMode(t *testing.T, test func(p *pair, c *conn)) {
	for _, mode := range journaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed)
			c.sql(spill)
			test(p, c)
			c.kill()
			p.check()
		})
	}
}

func TestSpill(t *testing.T) {
	eachMode(t, func(p *pair, c *conn) {
		p.commit(c, updateAll)
		p.run(c, "BEGIN", updateAll, insert, updateAll, remove, updateAll, "COMMIT")
		p.commit(c, workload...)
	})
}

func TestSavepoints(t *testing.T) {
	eachMode(t, func(p *pair, c *conn) {
		p.run(c, "BEGIN", update, "SAVEPOINT a", updateAll, "SAVEPOINT b", "DELETE FROM t WHERE id > 20", "ROLLBACK TO b", insert,
			"RELEASE b", "ROLLBACK TO a", insert, "RELEASE a", "COMMIT")
		p.run(c, "SAVEPOINT a", updateAll, "ROLLBACK TO a", "RELEASE a", "SAVEPOINT a", insert, "SAVEPOINT b", updateAll, "ROLLBACK TO b", "RELEASE a")
		p.commit(c, workload...)
	})
}

func TestRollbackAfterSpill(t *testing.T) {
	eachMode(t, func(p *pair, c *conn) {
		for range 3 {
			before := p.txid(c)
			p.run(c, "BEGIN", updateAll, "INSERT INTO t (b) VALUES (randomblob(200000))", "DELETE FROM t WHERE id < 50", "ROLLBACK")
			if got := p.txid(c) - before; got != 0 {
				p.Errorf("a rollback is %d transactions, want 0", got)
			}
			p.commit(c, insert)
		}
	})
}

func TestFailingStatement(t *testing.T) {
	eachMode(t, func(p *pair, c *conn) {
		p.run(c, "CREATE TABLE u (a UNIQUE CHECK (a <> 150), b)", "INSERT INTO u VALUES (180, 0)")
		half := "INSERT%s INTO u SELECT id, randomblob(1000) FROM t WHERE id > 90"
		for _, how := range []string{"", " OR ABORT", " OR FAIL", " OR ROLLBACK"} {
			c.fail(fmt.Sprintf(half, how), "constraint")
			p.checkBy(c)
			p.run(c, "BEGIN", update)
			c.fail(fmt.Sprintf(half, how), "constraint")
			p.checkBy(c)
			if c.inTxn {
				p.run(c, insert, "COMMIT")
			}
			p.run(c, "DELETE FROM u WHERE a <> 180")
		}
		p.run(c, fmt.Sprintf(half, " OR IGNORE"))
	})
}

// A process is killed within a transaction that has spilled; the next one rolls its journal back, or ignores its frames.
func TestKilled(t *testing.T) {
	eachMode(t, func(p *pair, c *conn) {
		mode := c.sql("PRAGMA journal_mode")
		for range 3 {
			p.run(c, "BEGIN", updateAll, "INSERT INTO t (b) VALUES (randomblob(100000))")
			before, last := p.txid(c), p.first().last
			c.kill()
			if err := p.first().checkStreams(); err != nil {
				p.Fatalf("after the kill: %v", err)
			}
			c = p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			c.sql(spill)
			p.checkBy(c)
			if err := fusetest.Diff(p.first().last, last); err != nil {
				p.Fatalf("what was not committed is there: %v", err)
			}
			if got := p.txid(c) - before; got != 0 {
				p.Errorf("a hot journal is %d transactions, want 0", got)
			}
			p.commit(c, insert, updateAll)
		}
		c.close()
	})
}

// Frames of a transaction that was rolled back or lost lie behind the last commit, and the next one overwrites them.
func TestFramesOverwritten(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c, other := p.open(), p.open()
	c.sql("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
	p.run(c, seed)
	c.sql(spill)
	for range 4 {
		p.run(c, "BEGIN", updateAll, "ROLLBACK")
		p.commit(other, insert)
		p.run(c, "BEGIN", updateAll)
		c.kill()
		p.commit(other, insert, update)
		c = p.open()
		c.sql(spill)
	}
	c.close()
	other.close()
	p.check()
}

// Two writers, each waiting for the other's lock; the counter proves that no transaction is lost.
func TestContention(t *testing.T) {
	for _, mode := range journaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed, "CREATE TABLE n (n)", "INSERT INTO n VALUES (0)")
			before := p.txid(c)
			const each = 60
			var writers sync.WaitGroup
			for range 2 {
				w := p.open("_txlock=immediate")
				w.sql("PRAGMA busy_timeout = 20000; PRAGMA journal_mode = " + mode + "; PRAGMA wal_autocheckpoint = 10")
				writers.Go(func() {
					for range each {
						if a := w.ask("sql", "BEGIN IMMEDIATE; UPDATE n SET n = n + 1; "+insert+"; COMMIT"); a.Err != "" {
							t.Errorf("a writer: %s", a.Err)
							return
						}
					}
				})
			}
			writers.Wait()
			c.want("SELECT n FROM n", fmt.Sprint(2*each))
			p.checkBy(c)
			if got := p.txid(c) - before; got != 2*each {
				t.Errorf("got %d transactions, want %d", got, 2*each)
			}
			c.close()
			p.check()
		})
	}
}
