package conformance

import "testing"

// The app writes while weir does not run on the primary: one catch-up transaction.
func TestPrimaryAway(t *testing.T) {
	for _, mode := range journaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed, insert)
			c.close()
			p.check()
			for range 2 {
				_, before := p.first().Primary.Pos()
				p.restart(&p.Primary, func() {
					shell(t, p.Primary.Path("db"), insert+";"+updateAll+";"+remove+";")
				})
				p.check()
				if _, got := p.first().Primary.Pos(); got.TXID != before.TXID+1 {
					t.Errorf("at %s after weir was away, want one transaction after %s", got, before)
				}
				c = p.open()
				p.commit(c, workload...)
				c.close()
				p.check()
			}
			if n := p.first().breaks(); n > 0 {
				t.Errorf("the streams were broken off %d times, want that they go on", n)
			}
		})
	}
}

// Nothing was written: the stream goes on as if weir had not been away.
func TestPrimaryAwayUnchanged(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed, insert)
			c.close()
			p.check()
			_, before := p.first().Primary.Pos()
			p.restart(&p.Primary, func() {})
			p.check()
			if _, got := p.first().Primary.Pos(); got != before {
				t.Errorf("at %s after a restart, want %s as before", got, before)
			}
		})
	}
}

// Somebody writes to the replica's file while weir does not run there: it is undone.
func TestReplicaAway(t *testing.T) {
	for _, write := range []struct{ name, sql string }{
		{"nothing", ""},
		{"rows", insert + ";" + updateAll + ";"},
		{"rows in WAL mode", "PRAGMA journal_mode = WAL;" + insert + ";" + updateAll + ";"},
		{"VACUUM", "DELETE FROM t WHERE id % 2; VACUUM;"},
		{"another page size", "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM;"},
		{"another schema", "DROP TABLE t; CREATE TABLE u (a);"},
	} {
		for _, meanwhile := range []bool{false, true} {
			name := write.name
			if meanwhile {
				name += ", the primary writes too"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newPair(t)
				c := p.open()
				p.run(c, seed, insert)
				p.restart(&p.Replica, func() {
					if write.sql != "" {
						shell(t, p.Replica.Path("db"), write.sql)
					}
					if meanwhile {
						c.sql(insert)
						c.sql(updateAll)
					}
				})
				p.checkBy(c)
				p.run(c, workload...)
				c.close()
				p.Warnings.Take() // it may say what it found
				p.check()
			})
		}
	}
}
