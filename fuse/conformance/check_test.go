package conformance

import (
	"errors"
	"fmt"
	"path/filepath"

	"weir/fuse/fusetest"
	"weir/stream"
)

// database is one database as it is checked.
type database struct {
	*fusetest.Database
	reader   *conn        // on the replica's mount, opened when it is first needed
	last     *stream.Sums // committed, as of the last check
	compared stream.TXID  // up to here both streams' histories are known to be one
}

// check checks all databases, each by a connection of its own.
func (p *pair) check() {
	p.Helper()
	for _, db := range p.Databases {
		c := connect(p.T, p.Primary.Path(db.Name))
		p.checkBy(c)
		c.want("PRAGMA integrity_check", "ok")
		c.close()
	}
}

// checkBy compares what c sees with the streams and the replica. In a transaction the last committed state counts.
func (p *pair) checkBy(c *conn) {
	p.Helper()
	db := p.dbs[filepath.Base(c.path)]
	if !c.inTxn {
		db.last = c.see()
	}
	if err := db.checkStreams(); err != nil {
		p.Fatal(errors.Join(fmt.Errorf("%s: %w", db.Name, err), p.Warnings.Take()))
	}
	c.unchecked = false
	if err := p.checkReader(db); err != nil {
		p.Fatal(errors.Join(fmt.Errorf("%s: a reader of the replica: %w", db.Name, err), p.Warnings.Take()))
	}
}

// checkStreams waits until the primary's stream leads to the last state, and the replica's to the same position.
func (db *database) checkStreams() error {
	err := db.Primary.Await(fusetest.Late, func() error {
		pos, got := db.Primary.Seen()
		if err := fusetest.Diff(got, db.last); err != nil {
			return fmt.Errorf("at %s: %w", pos, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the primary's stream: %w", err)
	}
	err = db.Replica.Await(fusetest.Late, func() error {
		_, pos := db.Primary.Pos() // where SQLite pads the WAL there may be more that change nothing
		if _, got := db.Replica.Pos(); got != pos {
			return fmt.Errorf("at %s, the primary's at %s", got, pos)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("the replica's stream: %w", err)
	}
	return db.compareHistories()
}

// compareHistories compares the positions that both streams have shown since the last time. After a break the replica's
// lacks some.
func (db *database) compareHistories() error {
	_, until := db.Replica.Pos()
	replica := make(map[stream.TXID]stream.Pos)
	for _, pos := range db.Replica.Since(db.compared) {
		replica[pos.TXID] = pos
	}
	for _, want := range db.Primary.Since(db.compared) {
		if want.TXID > until.TXID {
			break
		}
		if got, ok := replica[want.TXID]; ok && got != want || !ok && db.breaks() == 0 {
			return fmt.Errorf("the replica's stream was at %s where the primary's was at %s", got, want)
		}
		db.compared = want.TXID
	}
	return nil
}

// breaks returns how often the streams have broken off.
func (db *database) breaks() int {
	a, b := db.Primary.Breaks()
	c, d := db.Replica.Breaks()
	return a + b + c + d
}

// checkReader compares what a reader that stays open sees on the replica's mount.
func (p *pair) checkReader(db *database) error {
	if db.last.Len() == 0 {
		return nil
	}
	if db.reader == nil {
		p.must(p.AwaitShown(db.Name))
		db.reader = connect(p.T, p.Replica.Path(db.Name))
	}
	return fusetest.Diff(db.reader.read(), db.last)
}
