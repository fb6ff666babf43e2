package conformance

import (
	"fmt"
	"testing"
)

// seed makes a table of some pages.
const seed = `CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER, b BLOB);
CREATE INDEX t_v ON t (v);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
INSERT INTO t (v, b) SELECT i * 7 % 100, randomblob(500) FROM n;`

// The statements of a small workload; each is one transaction.
const (
	insert = "INSERT INTO t (v, b) VALUES (abs(random()) % 100, randomblob(3000))"
	update = "UPDATE t SET v = v + 1, b = randomblob(600) WHERE id % 11 = 3"
	remove = "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY v LIMIT 5)"
)

var workload = []string{insert, update, insert, remove, insert}

// journaled are the journal modes with which every commit is one transaction.
var journaled = []string{"DELETE", "TRUNCATE", "PERSIST", "WAL"}

var unjournaled = []string{"MEMORY", "OFF"}

func TestJournalModes(t *testing.T) {
	for _, mode := range journaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed)
			p.commit(c, workload...)
			p.run(c, "BEGIN", update, insert, "ROLLBACK", "BEGIN", update, insert, "COMMIT")
			p.commit(c, workload...)
			c.close()
			p.check()
		})
	}
	for _, mode := range unjournaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed)
			p.run(c, workload...)
			p.expect("journal_mode", p.Primary.Path("db"))
			p.run(c, workload...)
			c.close()
			p.check()
		})
	}
}

// Every mode to every other one in one live database, with another connection that is open all the time.
func TestJournalModeSwitches(t *testing.T) {
	all := append(append([]string{}, journaled...), unjournaled...)
	for _, from := range all {
		t.Run("from "+from, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			p.run(c, seed)
			for _, to := range all {
				for _, mode := range []string{from, to} {
					p.run(c, "PRAGMA journal_mode = "+mode, insert, update)
				}
			}
			c.close()
			p.Warnings.Take()
			p.check()
		})
	}
}

func TestSynchronous(t *testing.T) {
	for _, mode := range journaled {
		for _, sync := range []string{"OFF", "NORMAL", "FULL", "EXTRA"} {
			t.Run(fmt.Sprintf("%s in %s", sync, mode), func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				c := p.open()
				c.sql("PRAGMA journal_mode = " + mode + "; PRAGMA synchronous = " + sync)
				p.run(c, seed)
				p.commit(c, workload...)
				c.close()
				p.check()
			})
		}
	}
}
