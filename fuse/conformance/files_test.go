package conformance

import (
	"fmt"
	"path/filepath"
	"testing"

	"weir/fuse/fusetest"
)

// One transaction over two databases: a super-journal names both journals, and its end commits both.
func TestAttach(t *testing.T) {
	for _, mode := range journaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, "db", "other.db")
			other := connect(t, p.Primary.Path("other.db"))
			other.sql("PRAGMA journal_mode = " + mode)
			p.run(other, seed)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed)
			c.sql("ATTACH '" + p.Primary.Path("other.db") + "' AS other")
			both := "INSERT INTO main.t (b) VALUES (randomblob(2000)); UPDATE other.t SET b = randomblob(700) WHERE id < 30"
			for range 4 {
				for _, end := range []string{"COMMIT", "ROLLBACK"} {
					at := p.txid(c) + p.txid(other)
					c.sql("BEGIN; " + both + ";" + end)
					p.checkBy(c)
					p.checkBy(other)
					if got := p.txid(c) + p.txid(other) - at; end == "COMMIT" && got != 2 || end == "ROLLBACK" && got != 0 {
						t.Errorf("%s over two databases is %d transactions", end, got)
					}
				}
				p.run(c, insert)
				p.run(other, update)
			}
			c.close()
			other.close()
			p.check()
		})
	}
}

// The app is killed with two hot journals and a super-journal.
func TestAttachKilled(t *testing.T) {
	t.Parallel()
	p := newPair(t, "db", "other.db")
	other := connect(t, p.Primary.Path("other.db"))
	p.run(other, seed)
	c := p.open()
	p.run(c, seed)
	c.sql(spill + "; ATTACH '" + p.Primary.Path("other.db") + "' AS other; PRAGMA other.cache_size = 5")
	c.sql("BEGIN; UPDATE main.t SET b = randomblob(1500); UPDATE other.t SET b = randomblob(1500)")
	c.kill()
	c = p.open()
	p.run(c, "SELECT count(*) FROM t")
	p.run(other, "SELECT count(*) FROM t")
	p.run(c, insert)
	p.run(other, insert)
	c.close()
	other.close()
	p.check()
}

// Temporary databases, also where their files are put on the mount.
func TestTempFiles(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	run(t, "mkdir", p.Primary.Path("tmp"))
	c := p.open()
	c.sql("PRAGMA temp_store_directory = '" + p.Primary.Dir + "'; PRAGMA temp_store = FILE; " + spill)
	p.run(c, seed, "CREATE TEMP TABLE x AS SELECT * FROM t", "INSERT INTO x SELECT id + 1000, v, randomblob(3000) FROM t",
		"SELECT count(*) FROM (SELECT b FROM x ORDER BY b)", "INSERT INTO t (v, b) SELECT v, b FROM x", "DROP TABLE x", insert)
	c.close()
	p.check()
}

func TestManyDatabases(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprintf("%d.db", i))
	}
	p := newPair(t, names...)
	for i, name := range names {
		c := connect(t, p.Primary.Path(name))
		c.sql("PRAGMA journal_mode = " + journaled[i%len(journaled)])
		p.run(c, seed)
		p.commit(c, workload...)
		c.close()
	}
	p.check()
}

// A database in a subdirectory, or beside ours with another name, is not captured and not hindered.
func TestOtherDatabases(t *testing.T) {
	for _, mode := range append([]string{"MEMORY", "OFF"}, journaled...) {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			run(t, "mkdir", p.Primary.Path("sub"))
			ours := p.open()
			p.run(ours, seed)
			before := p.txid(ours)
			for _, name := range []string{"sub/db", "plain"} {
				c := connect(t, p.Primary.Path(name))
				c.sql("PRAGMA journal_mode = " + mode + ";" + spill)
				c.sql(seed)
				for _, s := range workload {
					c.sql(s)
				}
				c.want("PRAGMA integrity_check", "ok")
				c.close()
				run(t, "rm", p.Primary.Path(name))
			}
			p.checkBy(ours)
			if got := p.txid(ours) - before; got != 0 {
				t.Errorf("other databases are %d transactions of ours", got)
			}
			if files := run(t, "ls", p.Replica.Dir); files != "db\ndb-shm\ndb-wal" {
				t.Errorf("got files %q on the replica, want its database alone", files)
			}
			ours.close()
			p.check()
		})
	}
}

// eachReplacement runs how, which puts another database in the place of ours, in DELETE and WAL mode.
func eachReplacement(t *testing.T, how func(p *pair, other string)) {
	for _, mode := range []string{"DELETE", "WAL"} {
		for _, size := range []int{4096, 1024} {
			t.Run(fmt.Sprintf("%s with pages of %d", mode, size), func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				c := p.open()
				c.sql("PRAGMA journal_mode = " + mode)
				p.run(c, seed)
				p.commit(c, workload...)
				c.close()
				other := filepath.Join(t.TempDir(), "other")
				for range 2 {
					run(t, "rm", "-f", other)
					shell(t, other, fmt.Sprintf("PRAGMA page_size = %d; PRAGMA journal_mode = %s; %s; DELETE FROM t WHERE id %% 3 = 1;", size, mode, seed))
					how(p, other)
					p.check()
					c = p.open()
					p.run(c, workload...)
					c.close()
					p.check()
				}
			})
		}
	}
}

func TestReplacedByMove(t *testing.T) {
	eachReplacement(t, func(p *pair, other string) {
		run(p.T, "cp", other, p.Primary.Path("new"))
		run(p.T, "mv", p.Primary.Path("new"), p.Primary.Path("db"))
	})
}

func TestReplacedByMoveFromElsewhere(t *testing.T) {
	eachReplacement(t, func(p *pair, other string) { run(p.T, "mv", other, p.Primary.Path("db")) })
}

func TestCopyOver(t *testing.T) {
	eachReplacement(t, func(p *pair, other string) { run(p.T, "cp", other, p.Primary.Path("db")) })
}

func TestDeletedAndCreatedAnew(t *testing.T) {
	eachReplacement(t, func(p *pair, other string) {
		run(p.T, "rm", p.Primary.Path("db"))
		run(p.T, "cp", other, p.Primary.Path("db"))
	})
}

func TestRenamed(t *testing.T) {
	eachReplacement(t, func(p *pair, other string) {
		run(p.T, "mv", p.Primary.Path("db"), p.Primary.Path("old"))
		run(p.T, "cp", other, p.Primary.Path("db"))
		run(p.T, "rm", p.Primary.Path("old"))
	})
}

// Away under another name, and back: the same database goes on.
func TestRenamedAwayAndBack(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed)
			for range 3 {
				p.commit(c, workload...)
				c.close()
				run(t, "mv", p.Primary.Path("db"), p.Primary.Path("away"))
				shell(t, p.Primary.Path("away"), insert+";"+updateAll+";")
				run(t, "mv", p.Primary.Path("away"), p.Primary.Path("db"))
				p.check()
				c = p.open()
			}
			c.close()
			p.check()
		})
	}
}

// .restore is the backup API with the mounted database as its target. A database in WAL mode keeps its page size.
func TestRestore(t *testing.T) {
	eachReplacement(t, func(p *pair, other string) {
		const size = "PRAGMA page_size;"
		db := p.Primary.Path("db")
		if shell(p.T, db, size) != shell(p.T, other, size) {
			shell(p.T, db, "PRAGMA journal_mode = DELETE;")
		}
		shell(p.T, db, ".restore "+other+"\n")
	})
}

// The backup API with the mounted database as its source changes nothing.
func TestBackup(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := p.open()
	c.sql("PRAGMA journal_mode = WAL")
	p.run(c, seed)
	before := p.txid(c)
	for _, n := range []*fusetest.Node{&p.Primary, &p.Replica} {
		to := filepath.Join(t.TempDir(), "backup")
		shell(t, n.Path("db"), ".backup "+to+"\n")
		if got, want := shell(t, to, "SELECT count(*), sum(v) FROM t;"), c.sql("SELECT count(*), sum(v) FROM t"); got != want {
			t.Errorf("a backup of %s has %s, want %s", n.Dir, got, want)
		}
	}
	p.checkBy(c)
	if got := p.txid(c) - before; got != 0 {
		t.Errorf("a backup is %d transactions of its source, want 0", got)
	}
	c.close()
	p.check()
}

// A database that is gone leaves the replica its last state, until there is another one.
func TestDeleted(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			for range 3 {
				c := p.open()
				c.sql("PRAGMA journal_mode = " + mode)
				p.run(c, seed, insert)
				c.close()
				run(t, "rm", p.Primary.Path("db"))
			}
			c := p.open()
			p.run(c, seed, insert)
			c.close()
			p.check()
		})
	}
}
