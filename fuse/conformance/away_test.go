package conformance

import (
	"context"
	"testing"

	"weir/fuse"
)

// cleanly is how weir ends without clients.
func cleanly(m *fuse.Mounts, ctx context.Context) error { return m.Unmount(ctx) }

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
				before := p.dbs["db"].primary.pos.TXID
				p.restart(&p.primary, func() {
					shell(t, p.primary.path("db"), insert+";"+updateAll+";"+remove+";")
				})
				p.check()
				if got := p.dbs["db"].primary.pos.TXID - before; got != 1 {
					t.Errorf("what was done while weir was away is %d transactions, want 1", got)
				}
				c = p.open()
				p.commit(c, workload...)
				c.close()
				p.check()
			}
			if n := p.deltas(); n > 0 {
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
			before := p.dbs["db"].primary.pos
			p.restart(&p.primary, func() {})
			p.check()
			if got := p.dbs["db"].primary.pos; got != before {
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
				p.restart(&p.replica, func() {
					if write.sql != "" {
						shell(t, p.replica.path("db"), write.sql)
					}
					if meanwhile {
						c.sql(insert)
						c.sql(updateAll)
					}
				})
				p.checkBy(c)
				p.run(c, workload...)
				c.close()
				p.warned.take() // it may say what it found
				p.check()
			})
		}
	}
}

// restart ends weir on one node, runs meanwhile, and starts it again. Recorders begin anew.
func (p *pair) restart(n *node, meanwhile func()) {
	p.Helper()
	p.unfollow()
	p.closeReaders()
	if err := n.unmount(cleanly); err != nil {
		p.Fatal(err)
	}
	meanwhile()
	if n == &p.primary {
		p.mountPrimary()
		p.awaitReplica()
		p.forgive("disconnected")
	} else {
		p.mountReplica()
		p.restarted = true
	}
	p.follow()
}
