package main

import (
	"fmt"
	"strings"
	"testing"
)

// A replica is away for so long that the log has dropped what it missed. When it returns it gets the pages that differ, and
// not the whole database. A log takes a tenth of its disk.
func TestRetentionThenDelta(t *testing.T) {
	skipRaced(t)
	const rows, disk = 2500, 40 << 20
	primary := newPrimary(t).onDisk(smallDisk(t, disk>>20))
	primary.start()
	shell(t, primary.db, fmt.Sprintf(`PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);
		WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO t SELECT i, randomblob(4000) FROM n;`, rows))
	replica := newReplica(t, primary)
	w := newWire(t, primary.addr)
	replica.configure("addr: %q\ndbs:\n  - path: %s\n    upstream:\n      url: http://%s\n      path: %s\n", replica.addr, replica.db, w.addr, primary.db)
	replica.start()
	awaitSum(t, primary, replica)
	replica.stop()
	whole := w.bytes.Swap(0)
	if whole < 4000*rows {
		t.Errorf("got %d bytes for the snapshot, want all %d rows: else this counts nothing", whole, rows)
	}

	// Each transaction has some 100 KB, and together they have twice what the log may keep.
	const each, transactions = rows / 100 * 4000, 2*disk/10/(rows/100*4000) + 1
	shell(t, primary.db, strings.Repeat("UPDATE t SET v = randomblob(4000) WHERE id % 100 = 0;", transactions))
	replica.start()
	awaitSum(t, primary, replica)
	got := w.bytes.Load()
	t.Logf("%d bytes for the snapshot; %d for what came of %d", whole, got, transactions*each)
	if got > whole/10 {
		t.Errorf("got %d bytes, want at most a tenth of the %d that the database took", got, whole)
	}
	if log := replica.logged(); snapshots(replica) != 1 || !strings.Contains(log, "delta=true") || !strings.Contains(log, "is not in the log") {
		t.Errorf("want one delta, because the position is not in the log\n%s", log)
	}
	shell(t, primary.db, "UPDATE t SET v = randomblob(4000) WHERE id = 1;")
	awaitSum(t, primary, replica)
	if got := snapshots(replica); got != 1 {
		t.Errorf("got %d snapshots, want it to go on by position after the delta", got)
	}
	replica.stop()
	primary.stop()
}
