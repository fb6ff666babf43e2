package conformance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"weir/fuse"
	"weir/fuse/fusetest"
	"weir/fuse/internal/dbfile"
)

// A process that commits one transaction after the other is killed at any moment, in the midst of a commit too. What it
// was told is committed is there; of the one that was under way all is there or nothing.
func TestKilledAtAnyMoment(t *testing.T) {
	for _, mode := range journaled {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open()
			p.run(c, seed, "CREATE TABLE n (n)", "INSERT INTO n VALUES (0)")
			c.close()
			for range 12 {
				c = p.open()
				c.sql("PRAGMA journal_mode = " + mode + "; PRAGMA wal_autocheckpoint = 7; PRAGMA cache_size = 5")
				p.checkBy(c)
				at, n := p.txid(c), count(c)
				script := ""
				for range 200 {
					script += "BEGIN; UPDATE n SET n = n + 1; " + update + ";" + insert + "; COMMIT;"
				}
				if err := c.proc.Shoot("sql", script, time.Duration(rand.IntN(60000))*time.Microsecond); err != nil {
					t.Fatal(err)
				}
				c = p.open()
				n = count(c) - n
				p.checkBy(c)
				// A rollback changes free pages that were taken into use, which have no journal.
				if got := int(p.txid(c) - at); got != n && got != n+1 || mode == "WAL" && got != n {
					t.Errorf("%d commits are %d transactions", n, got)
				}
				c.close()
			}
			p.check()
		})
	}
}

func count(c *conn) int {
	n, err := strconv.Atoi(c.sql("SELECT n FROM n"))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// A transaction fails after its commit frame is in the WAL: the disk is full when SQLite pads the WAL to a sector. The
// next transaction overwrites the frame, which must not have been taken for a commit, or be corrected.
func TestCommitFrameOverwritten(t *testing.T) {
	for _, tt := range []struct {
		name, locking string
		another       bool // the next transaction is another connection's
	}{
		{"by the same connection", "NORMAL", false},
		{"by another connection", "NORMAL", true},
		{"without wal-index", "EXCLUSIVE", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c := p.open("psow=0")
			c.sql("PRAGMA page_size = 1024; PRAGMA locking_mode = " + tt.locking + "; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")
			p.run(c, seed, insert, update)
			next := c
			if tt.another {
				next = p.open("psow=0")
			}
			// The wal-index tells that the frame does not count. Where weir can't read it, in the memory of the exclusive
			// process, or in pages that the kernel keeps, it learns so when the frame is overwritten.
			indexed := tt.locking == "NORMAL" && passthrough.Primary == fuse.PassthroughOn
			hits := 0
			for i := range 12 {
				p.run(next, fmt.Sprintf("UPDATE t SET v = v + %d WHERE id < 3", i))
				if p.failBehindCommitFrame(c, 2+i) {
					hits++
				}
				if indexed {
					p.checkBy(next)
				}
				next.sql(fmt.Sprintf("UPDATE t SET v = v - 1, b = randomblob(600) WHERE id = %d", 20+i)) // two, where it corrects
				p.checkBy(next)
				p.run(next, insert)
				p.run(c, update)
			}
			if hits == 0 {
				t.Error("no commit frame was written by a transaction that failed")
			}
			if !indexed {
				p.expect("overwritten by its successor")
			}
			c.close()
			if tt.another {
				next.close()
			}
			p.check()
		})
	}
}

// failBehindCommitFrame has an update fail, with the disk full some half frames behind the end of the WAL, and tells
// whether its commit frame is there.
func (p *pair) failBehindCommitFrame(c *conn, halves int) bool {
	p.Helper()
	const frame = dbfile.FrameHeaderSize + 1024
	before := p.commitFrames()
	size, err := strconv.ParseInt(run(p.T, "stat", "--format=%s", p.Primary.Path("db-wal")), 10, 64)
	p.must(err)
	p.must(c.proc.Limit(size + int64(halves+1)*frame/2))
	a := c.ask("sql", "UPDATE t SET b = randomblob(length(b)) WHERE id = 150")
	p.must(c.proc.Limit(-1))
	return a.Err != "" && p.commitFrames() > before
}

// commitFrames counts the commit frames in the WAL, whether they count for SQLite or not.
func (p *pair) commitFrames() (n int) {
	p.Helper()
	wal, err := fusetest.Command("cat", p.Primary.Path("db-wal")).Output()
	p.must(err)
	r, err := dbfile.OpenWAL(bytes.NewReader(wal))
	p.must(err)
	for page := make([]byte, r.Header().PageSize); ; {
		f, err := r.Next(page)
		if err != nil {
			return n
		}
		if f.Commit() {
			n++
		}
	}
}
