package main

import (
	"os"
	"testing"
)

// A replica that comes while the primary's database is removed follows, with nothing to show, and shows the next one.
func TestReplicaOfRemovedDatabase(t *testing.T) {
	primary := newPrimary(t)
	primary.start()
	shell(t, primary.db, auditSchema+auditStep)
	if err := os.Remove(primary.db); err != nil {
		t.Fatal(err)
	}
	replica := newReplica(t, primary)
	replica.start()
	replica.awaitLog("snapshot complete")
	if _, err := os.Stat(replica.db); err == nil {
		t.Error("the replica shows a database, want none")
	}
	shell(t, primary.db, auditSchema+auditStep+auditStep)
	awaitEqual(t, primary, replica)
	if got := snapshots(replica); got != 1 {
		t.Errorf("got %d snapshots, want that of nothing alone\n%s", got, replica.logged())
	}
}
