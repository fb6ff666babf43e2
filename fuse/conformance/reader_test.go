package conformance

import (
	"fmt"
	"testing"

	"weir/fuse/fusetest"
)

const mmap = "PRAGMA mmap_size = 268435456"

// Both sides map the database: a write of the app, or of apply, must show in the mapping.
func TestMmap(t *testing.T) {
	for _, mode := range journaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c, second := p.open(), p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			c.sql(mmap + "; PRAGMA wal_autocheckpoint = 10")
			second.sql(mmap)
			p.run(c, seed)
			reader := p.openReplica()
			reader.want(mmap, "268435456")
			for range 4 {
				p.commit(c, workload...)
				p.run(second, insert)
				if err := fusetest.Diff(reader.read(), p.first().last); err != nil {
					t.Fatalf("a reader that maps the database: %v", err)
				}
				if err := fusetest.Diff(second.read(), p.first().last); err != nil {
					t.Fatalf("on the primary, a connection that maps the database: %v", err)
				}
				reader.want("PRAGMA integrity_check", "ok")
				p.run(c, "DELETE FROM t WHERE id % 2", "VACUUM", "PRAGMA wal_checkpoint")
			}
			for _, c := range []*conn{c, second, reader} {
				c.close()
			}
			p.check()
		})
	}
}

// Readers that ask for no more than reading. One with immutable=1 looks at the database file alone, so it is right only
// as long as nothing changes after a checkpoint, and must be opened anew.
func TestReadOnlyReaders(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := p.open()
	c.sql("PRAGMA journal_mode = WAL")
	p.run(c, seed)
	ro := p.openReplica("mode=ro")
	for range 3 {
		p.commit(c, workload...)
		if err := fusetest.Diff(ro.read(), p.first().last); err != nil {
			t.Fatalf("mode=ro: %v", err)
		}
		ro.fail(insert, "readonly")
		fresh := p.openReplica("mode=ro")
		if err := fusetest.Diff(fresh.read(), p.first().last); err != nil {
			t.Fatalf("mode=ro, opened anew: %v", err)
		}
		fresh.close()
	}
	ro.close()
	c.close()
	p.closeReaders()
	p.must(p.Replica.Unmount())
	p.must(p.MountReplica())
	immutable := p.openReplica("immutable=1")
	if err := fusetest.Diff(immutable.read(), p.first().last); err != nil {
		t.Errorf("immutable=1: %v", err)
	}
	immutable.want("PRAGMA integrity_check", "ok")
	immutable.close()
}

// Readers stay open, idle or in a transaction, over everything that exchanges what is below them.
func TestReadersStayOpen(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			c.sql("PRAGMA journal_mode = " + mode)
			p.run(c, seed)
			idle, held := p.openReplica(), p.openReplica()
			idle.want("SELECT count(*) FROM t", "200")
			for _, change := range [][]string{
				{insert, "PRAGMA wal_checkpoint(RESTART)", insert, "PRAGMA wal_checkpoint(TRUNCATE)", insert},
				{updateAll, updateAll, updateAll, updateAll, updateAll}, // the replica's WAL restarts
				{"DELETE FROM t WHERE id % 2 = 0", "VACUUM", insert},
				{"PRAGMA journal_mode = DELETE", "PRAGMA page_size = 1024", "VACUUM", "PRAGMA journal_mode = " + mode, insert},
			} {
				held.sql("BEGIN")
				before := held.read()
				for _, s := range change {
					c.sql(s)
				}
				if change[len(change)-2] == "PRAGMA journal_mode = "+mode {
					held.sql("COMMIT") // the file cannot be exchanged under a transaction
					p.checkBy(c)
				} else {
					p.checkBy(c)
					if err := fusetest.Diff(held.read(), before); err != nil {
						t.Fatalf("after %q, in the same transaction: %v", change, err)
					}
					held.want("PRAGMA integrity_check", "ok")
					held.sql("COMMIT")
				}
				for _, r := range []*conn{idle, held} {
					if err := fusetest.Diff(r.read(), p.first().last); err != nil {
						t.Fatalf("after %q: %v", change, err)
					}
					r.want("PRAGMA integrity_check", "ok")
				}
			}
			idle.close()
			held.close()
			c.close()
			p.check()
		})
	}
}

// SQLite has five read-marks, one of them for readers of the database alone.
func TestMoreReadersThanReadMarks(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := p.open()
	c.sql("PRAGMA journal_mode = WAL")
	p.run(c, seed)
	type held struct {
		*conn
		rows string
	}
	var readers []held
	for range 12 {
		r := held{conn: p.openReplica()}
		r.sql("BEGIN")
		r.rows = r.sql("SELECT count(*), sum(id), sum(v) FROM t")
		readers = append(readers, r)
		p.commit(c, insert, updateAll)
	}
	for _, r := range readers {
		r.want("SELECT count(*), sum(id), sum(v) FROM t", r.rows)
		r.want("PRAGMA integrity_check", "ok")
		r.sql("COMMIT")
		if err := fusetest.Diff(r.read(), p.first().last); err != nil {
			t.Fatal(err)
		}
		p.commit(c, insert)
		r.close()
	}
	c.close()
	p.check()
}

// Many readers on the replica come and go while the primary writes as fast as it can.
func TestReadersUnderLoad(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	c := p.open()
	c.sql("PRAGMA journal_mode = WAL")
	p.run(c, seed, "CREATE TABLE n (n)", "CREATE TABLE m (n)", "INSERT INTO n VALUES (0)", "INSERT INTO m VALUES (0)")
	var readers []*conn
	for range 6 {
		readers = append(readers, p.openReplica())
	}
	done := make(chan error, len(readers))
	stop := make(chan struct{})
	for _, r := range readers {
		go func() {
			for {
				a := r.ask("sql", "SELECT (SELECT n FROM n) = (SELECT n FROM m), (SELECT count(b) FROM t) > 0")
				if a.Err != "" || len(a.Rows) != 1 || a.Rows[0] != "1|1" {
					done <- fmt.Errorf("a reader got %q, %q", a.Rows, a.Err)
					return
				}
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
			}
		}()
	}
	for range 150 {
		c.sql("BEGIN; UPDATE n SET n = n + 1; " + update + "; UPDATE m SET n = n + 1; COMMIT")
	}
	close(stop)
	for range readers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	p.checkBy(c)
	c.close()
	p.check()
}
