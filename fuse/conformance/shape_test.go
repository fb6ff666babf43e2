package conformance

import (
	"fmt"
	"testing"
)

var pageSizes = []int{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536}

func TestPageSizes(t *testing.T) {
	for _, size := range pageSizes {
		for _, mode := range []string{"DELETE", "WAL"} {
			t.Run(fmt.Sprintf("%d in %s", size, mode), func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				c := p.open()
				c.sql(fmt.Sprintf("PRAGMA page_size = %d; PRAGMA journal_mode = %s", size, mode))
				p.run(c, seed)
				c.want("PRAGMA page_size", fmt.Sprint(size))
				p.commit(c, workload...)
				p.run(c, "PRAGMA wal_checkpoint(TRUNCATE)")
				p.commit(c, workload...)
				c.close()
				p.check()
			})
		}
	}
}

// Every size to the next, down and up, in a live database; a reader of the replica stays open.
func TestPageSizeChange(t *testing.T) {
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			p.run(c, seed)
			for _, size := range []int{512, 65536, 1024, 32768, 2048, 16384, 8192, 4096} {
				p.run(c, "PRAGMA journal_mode = DELETE") // not in WAL mode
				c.sql(fmt.Sprintf("PRAGMA page_size = %d; PRAGMA journal_mode = %s", size, rollback(mode)))
				p.run(c, "VACUUM")
				p.Warnings.Forgive("follower turned away")
				c.want("PRAGMA page_size", fmt.Sprint(size))
				p.run(c, "PRAGMA journal_mode = "+mode)
				p.commit(c, workload...)
			}
			c.close()
			p.check()
		})
	}
}

// rollback is mode, or DELETE for WAL, in which the page size cannot change.
func rollback(mode string) string {
	if mode == "WAL" {
		return "DELETE"
	}
	return mode
}

// The page at 1 GiB is for locks: SQLite never writes it, and it is in no transaction. The database is sparse: pages
// that are freed before they leave the cache are never written.
func TestLockPage(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := p.open()
	c.sql("PRAGMA page_size = 65536; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000000")
	p.run(c, seed, "CREATE TABLE big (b)")
	before := p.txid(c)
	c.sql("BEGIN; INSERT INTO big VALUES (zeroblob(600000000)), (zeroblob(500000000))")
	c.sql("INSERT INTO big VALUES (randomblob(3000000))") // behind the lock page
	c.sql("DELETE FROM big WHERE rowid < 3; COMMIT")
	if n := c.sql("PRAGMA page_count"); n < "16500" {
		t.Fatalf("got %s pages, want more than are in 1 GiB", n)
	}
	c.sql("INSERT INTO big VALUES (randomblob(300000))")
	c.sql("PRAGMA journal_mode = WAL")
	c.sql("UPDATE big SET b = randomblob(4000000)")
	p.checkBy(c)
	if got := p.txid(c) - before; got != 4 {
		t.Errorf("got %d transactions, want 4", got)
	}
	p.run(c, "VACUUM", insert)
	c.close()
	p.check()
}

func TestAutoVacuum(t *testing.T) {
	for _, kind := range []string{"FULL", "INCREMENTAL"} {
		for _, mode := range journaled {
			t.Run(kind+" in "+mode, func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				c := p.open()
				c.sql("PRAGMA page_size = 1024; PRAGMA auto_vacuum = " + kind + "; PRAGMA journal_mode = " + mode)
				p.run(c, seed)
				p.commit(c, insert, insert, "DELETE FROM t WHERE id % 3 > 0", insert)
				p.run(c, "PRAGMA incremental_vacuum(5)", "PRAGMA incremental_vacuum", "PRAGMA wal_checkpoint")
				p.commit(c, insert, "DELETE FROM t", insert)
				p.run(c, "PRAGMA incremental_vacuum")
				c.close()
				p.check()
			})
		}
	}
}

func TestVacuum(t *testing.T) {
	for _, mode := range append([]string{"MEMORY", "OFF"}, journaled...) {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed, "VACUUM", "DELETE FROM t WHERE id % 2", "VACUUM", insert, "VACUUM",
				"PRAGMA auto_vacuum = INCREMENTAL", "VACUUM", insert, "PRAGMA auto_vacuum = NONE", "VACUUM", insert)
			c.close()
			p.check()
			if mode == "MEMORY" || mode == "OFF" {
				p.expect("journal_mode")
			}
		})
	}
}

// VACUUM INTO leaves the database as it is. Its target may be on the mount: another file, or the database of another.
func TestVacuumInto(t *testing.T) {
	t.Parallel()
	p := newPair(t, "db", "copy.db")
	c := p.open()
	c.sql("PRAGMA journal_mode = WAL")
	p.run(c, seed, "DELETE FROM t WHERE id % 3 > 0")
	before := p.txid(c)
	p.run(c, "VACUUM INTO '"+p.Primary.Path("plain.db")+"'")
	c.sql("VACUUM INTO '" + p.Primary.Path("copy.db") + "'")
	if got := p.txid(c) - before; got != 0 {
		t.Errorf("VACUUM INTO is %d transactions of its source, want 0", got)
	}
	p.check()
	copied := connect(t, p.Primary.Path("copy.db"))
	p.commit(copied, insert, update)
	copied.close()
	c.close()
	p.check()
}

func TestShrink(t *testing.T) {
	for _, mode := range journaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA page_size = 512; PRAGMA journal_mode = " + mode)
			p.run(c, seed)
			for range 2 {
				p.run(c, "INSERT INTO t (b) VALUES (randomblob(3000000))", "DELETE FROM t WHERE length(b) > 100000", "VACUUM")
				if n := c.sql("PRAGMA page_count"); len(n) > 4 {
					t.Errorf("%s pages after VACUUM, want that the database shrinks", n)
				}
				p.run(c, "PRAGMA wal_checkpoint(TRUNCATE)")
				p.commit(c, workload...)
			}
			c.close()
			p.check()
		})
	}
}

// A page that is freed before it was ever written is a hole in the file, or garbage; SQLite journals none of it.
func TestFreePages(t *testing.T) {
	for _, mode := range journaled {
		for _, secure := range []string{"OFF", "ON", "FAST"} {
			t.Run(fmt.Sprintf("%s secure_delete %s", mode, secure), func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				c := p.open()
				c.sql("PRAGMA journal_mode = " + mode + "; PRAGMA secure_delete = " + secure)
				p.run(c, seed)
				p.run(c, "BEGIN", "INSERT INTO t (b) VALUES (randomblob(900000))", "DELETE FROM t WHERE length(b) > 100000", insert, "COMMIT")
				p.commit(c, "INSERT INTO t (b) VALUES (randomblob(300000))", "DELETE FROM t WHERE length(b) > 100000", "INSERT INTO t (b) VALUES (randomblob(100000))")
				p.run(c, "BEGIN", "CREATE TABLE u AS SELECT * FROM t", "DROP TABLE u", "COMMIT", insert, "PRAGMA wal_checkpoint(TRUNCATE)", insert)
				c.close()
				p.check()
			})
		}
	}
}
