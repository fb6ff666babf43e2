package conformance

import (
	"fmt"
	"path/filepath"
	"testing"
)

// EXCLUSIVE before WAL is WAL without a wal-index in shared memory; after it there is one, but nobody may use it.
func TestExclusiveLocking(t *testing.T) {
	for _, tt := range []struct{ name, setup string }{
		{"DELETE", "PRAGMA journal_mode = DELETE; PRAGMA locking_mode = EXCLUSIVE"},
		{"TRUNCATE", "PRAGMA journal_mode = TRUNCATE; PRAGMA locking_mode = EXCLUSIVE"},
		{"PERSIST", "PRAGMA journal_mode = PERSIST; PRAGMA locking_mode = EXCLUSIVE"},
		{"WAL without shm", "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL"},
		{"WAL with shm", "PRAGMA journal_mode = WAL; SELECT * FROM sqlite_schema; PRAGMA locking_mode = EXCLUSIVE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql(tt.setup)
			p.run(c, seed)
			p.commit(c, workload...)
			p.run(c, "BEGIN", update, insert, "ROLLBACK")
			p.commit(c, workload...)
			p.run(c, "PRAGMA wal_checkpoint(TRUNCATE)", insert, "PRAGMA locking_mode = NORMAL; SELECT count(*) FROM t")
			p.commit(c, workload...)
			c.close()
			p.check()
		})
	}
}

// An app in WAL without shm is killed; the next one recovers.
func TestExclusiveLockingKilled(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := p.open()
	c.sql("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA cache_size = 5")
	p.run(c, seed, insert, insert, "BEGIN", "UPDATE t SET b = randomblob(1500)")
	c.kill()
	p.check()
	c = p.open()
	p.commit(c, workload...)
	c.close()
	p.check()
}

// The WAL is padded to a sector after a commit where a power failure may damage more than what is written.
func TestNoPowersafeOverwrite(t *testing.T) {
	for _, mode := range journaled {
		for _, sync := range []string{"NORMAL", "FULL"} {
			t.Run(mode+" "+sync, func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				c := p.open("psow=0")
				c.sql("PRAGMA page_size = 1024; PRAGMA journal_mode = " + mode + "; PRAGMA synchronous = " + sync)
				// In WAL mode the padding is the commit frame again, and each one is a commit.
				p.run(c, seed)
				p.run(c, workload...)
				p.run(c, "PRAGMA wal_checkpoint(RESTART)")
				p.run(c, workload...)
				c.close()
				p.check()
			})
		}
	}
}

func TestJournalSizeLimit(t *testing.T) {
	for _, mode := range []string{"PERSIST", "TRUNCATE", "WAL"} {
		for _, limit := range []int{0, 4096, 100000} {
			t.Run(fmt.Sprintf("%d in %s", limit, mode), func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				c := p.open()
				c.sql(fmt.Sprintf("PRAGMA journal_mode = %s; PRAGMA journal_size_limit = %d; PRAGMA wal_autocheckpoint = 20", mode, limit))
				p.run(c, seed)
				for range 4 {
					p.commit(c, insert, "UPDATE t SET b = randomblob(1400)", insert)
				}
				c.close()
				p.check()
			})
		}
	}
}

func TestWALAutocheckpoint(t *testing.T) {
	for _, pages := range []int{0, 1, 7} {
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql(fmt.Sprintf("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = %d", pages))
			p.run(c, seed)
			for range 6 {
				p.commit(c, workload...)
			}
			c.close()
			p.check()
		})
	}
}

// By the writer itself, by another connection, and under a reader that holds some of it up.
func TestCheckpoints(t *testing.T) {
	for _, kind := range []string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c, other, reader := p.open(), p.open(), p.open()
			c.sql("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
			other.sql("PRAGMA busy_timeout = 50")
			p.run(c, seed)
			checkpoint := "PRAGMA wal_checkpoint(" + kind + ")"
			for range 3 {
				p.commit(c, workload...)
				p.run(c, checkpoint)
				p.commit(c, workload...)
				p.run(other, checkpoint)
				p.commit(c, insert)
				reader.sql("BEGIN; SELECT count(*) FROM t")
				p.commit(c, workload...)
				p.run(other, checkpoint)
				p.commit(c, insert)
				reader.sql("COMMIT")
				p.run(c, "BEGIN", update)
				other.ask("sql", checkpoint) // locked: nothing, or what was committed
				p.run(c, "COMMIT")
			}
			for _, c := range []*conn{c, other, reader} {
				c.close()
			}
			p.check()
		})
	}
}

// The last connection copies the WAL into the database and removes it.
func TestLastClose(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := p.open()
	c.sql("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
	p.run(c, seed)
	for range 5 {
		c.sql(insert + ";" + update)
		c.close() // at once after its commits
		p.check()
		c = p.open()
		p.run(c, insert)
	}
	c.close()
	p.check()
}

// SQLITE_FCNTL_PERSIST_WAL keeps the WAL, whole or cut by journal_size_limit, after the last connection.
func TestPersistWAL(t *testing.T) {
	for _, limit := range []int{-1, 0} {
		t.Run(fmt.Sprintf("journal_size_limit %d", limit), func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = WAL")
			p.run(c, seed)
			c.close()
			for range 3 {
				shell(t, p.Primary.Path("db"), fmt.Sprintf(".filectrl persist_wal 1\nPRAGMA journal_size_limit = %d;\n%s;\n%s;\n", limit, insert, update))
				if files := run(t, "ls", p.Primary.Dir); files != "db\ndb-shm\ndb-wal" {
					t.Fatalf("got files %q, want the WAL and wal-index to persist", files)
				}
				shell(t, p.Primary.Path("db"), ".filectrl persist_wal 1\n"+remove+";\n"+insert+";\n")
				p.check()
			}
			c = p.open()
			p.commit(c, workload...)
			c.close()
			p.check()
		})
	}
}

// Closing the last connection while it cannot get its locks leaves the WAL; the next connection goes on in it.
func TestWALLeftByKill(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := p.open()
	c.sql("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
	p.run(c, seed, insert)
	for range 3 {
		c.kill()
		c = p.open()
		p.commit(c, workload...)
	}
	if files := run(t, "ls", filepath.Dir(c.path)); files != "db\ndb-shm\ndb-wal" {
		t.Errorf("got files %q, want a WAL that was left", files)
	}
	c.close()
	p.check()
}
