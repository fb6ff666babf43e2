package main

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"weir/fuse/fusetest"
)

var (
	kills    = flag.Int("kills", 6, "how often TestKilledUnderLoad kills, over all journal modes")
	killSeed = flag.Uint64("kills.seed", 0, "the seed of TestKilledUnderLoad; 0: any")
)

// raced says that the tests, and the weir under test, have the race detector.
var raced bool

// skipRaced skips a test of load or of limits: with the detector weir is so much slower than its clients that it is
// minutes behind them. The same code runs under the detector in the other tests.
func skipRaced(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("too slow with the race detector")
	}
}

// Weir's processes and apps are killed by kill -9 while apps write as fast as they can, and started again. What SQLite
// acknowledged is there, readers of the replica never see what was not committed, and every state that either node's
// stream leads to is verified and the same on both.
func TestKilledUnderLoad(t *testing.T) {
	skipRaced(t)
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-kills.seed=%d", seed)
	modes := []string{"WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"}
	for i, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			k := newKilling(t, mode, rand.New(rand.NewPCG(seed, uint64(i))))
			for k.round = range (*kills + i) / len(modes) {
				k.run(draw(k.rnd, victims...))
			}
			k.end()
		})
	}
}

// victim is who is killed at one moment.
type victim struct {
	name                            string
	primary, replica, apps, readers bool
}

var victims = []victim{
	{name: "primary", primary: true},
	{name: "replica", replica: true},
	{name: "apps", apps: true},
	{name: "both nodes", primary: true, replica: true},
	{name: "primary and apps", primary: true, apps: true},
	{name: "readers", readers: true},
	{name: "all", primary: true, replica: true, apps: true, readers: true},
}

// killing is a running TestKilledUnderLoad in one journal mode.
type killing struct {
	t    *testing.T
	rnd  *rand.Rand
	mode string

	round   int
	pragmas string // of the round's writers
	primary *node
	replica *node
	streams [2]*fusetest.Recorder // the primary's and the replica's
	writers []*acknowledger
	readers []*auditor
	outages []span // in which the replica's mount was dead

	committed map[int64]int64 // transactions in the database, by writer
	tally     map[string]*tallied
	audits    int // that went well
	rebuilt   int // databases that SQLite itself left broken
}

// span is from a moment to another.
type span struct{ from, to time.Time }

// tallied counts what came of one kind of kill.
type tallied struct {
	kills  int
	deltas int // of these, with a delta for the replica
	named  int // of these, with apps that had files open on the dead mount when weir started
}

func newKilling(t *testing.T, mode string, rnd *rand.Rand) *killing {
	k := &killing{t: t, rnd: rnd, mode: mode, committed: make(map[int64]int64), tally: make(map[string]*tallied)}
	for _, v := range victims {
		k.tally[v.name] = new(tallied)
	}
	k.primary, k.replica = startPair(t)
	shell(t, k.primary.db, "PRAGMA journal_mode = "+mode+";"+ledgerSchema)
	awaitEqual(t, k.primary, k.replica)
	k.streams = [2]*fusetest.Recorder{record(t, k.primary), record(t, k.replica)}
	k.startReaders()
	return k
}

// run kills v under load, starts again what was killed and checks everything.
func (k *killing) run(v victim) {
	k.t.Helper()
	k.startWriters()
	before := snapshots(k.replica)
	at := time.Now()
	if v.replica {
		k.outages = append(k.outages, span{at, at.Add(time.Hour)})
		before = 0 // its log will begin anew
	}
	k.kill(v)
	k.restart(v)
	if v.replica {
		k.outages[len(k.outages)-1].to = time.Now()
	}
	k.endWriters(v)
	var broken time.Time
	if k.unjournaled() && (v.primary || v.apps) {
		broken = at
	}
	k.replaceReaders(broken)
	k.check(broken)
	k.count(v, snapshots(k.replica)-before)
}

// count notes how the replica went on. While the primary lived, that is by position.
func (k *killing) count(v victim, deltas int) {
	k.t.Helper()
	o := k.tally[v.name]
	o.kills++
	if deltas == 0 {
		return
	}
	o.deltas++
	k.t.Logf("round %d: %s killed, with %s: the replica took pages %d times", k.round, v.name, k.pragmas, deltas)
	if !v.primary && !k.unjournaled() {
		k.t.Errorf("the replica took pages, want that it goes on by position")
	}
}

// kill kills v's processes one after the other in any order, at once or with moments in between.
func (k *killing) kill(v victim) {
	k.t.Helper()
	var all []func()
	if v.primary {
		all = append(all, func() { k.primary.signal(syscall.SIGKILL) })
	}
	if v.replica {
		all = append(all, func() { k.replica.signal(syscall.SIGKILL) })
	}
	for _, w := range k.writers {
		if v.apps {
			all = append(all, w.sigkill)
		}
	}
	for _, r := range k.readers {
		if v.readers {
			all = append(all, r.sigkill)
		}
	}
	k.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	gap := time.Duration(k.rnd.IntN(2)*k.rnd.IntN(3000)) * time.Microsecond
	for _, kill := range all {
		kill()
		time.Sleep(gap)
	}
}

// restart starts the killed nodes, while apps that were left alive meet the dead mounts.
func (k *killing) restart(v victim) {
	k.t.Helper()
	var dead []*node
	if v.primary {
		dead = append(dead, k.primary)
	}
	if v.replica {
		dead = append(dead, k.replica)
	}
	k.rnd.Shuffle(len(dead), func(i, j int) { dead[i], dead[j] = dead[j], dead[i] })
	for _, n := range dead {
		n.exitCode()
	}
	time.Sleep(time.Duration(k.rnd.IntN(100)) * time.Millisecond)
	for _, n := range dead {
		if k.revive(n) {
			k.tally[v.name].named++
		}
	}
}

// check requires that nothing that was acknowledged is lost, and that the replica's pages are the primary's. SQLite itself
// may have left the database broken since a moment, unless that is zero.
func (k *killing) check(broken time.Time) {
	k.t.Helper()
	if !broken.IsZero() {
		k.checkUnjournaled(broken)
		return
	}
	k.checkCommitted()
	awaitEqual(k.t, k.primary, k.replica)
	compareRecords(k.t, k.streams[0], k.streams[1])
}

// end checks what is left to check and sums up.
func (k *killing) end() {
	k.t.Helper()
	k.endReaders(time.Time{})
	for _, name := range slices.Sorted(maps.Keys(k.tally)) {
		if o := k.tally[name]; o.kills > 0 {
			k.t.Logf("%-8s  %-16s  killed %3d times, %3d with a delta, %3d with apps named", k.mode, name, o.kills, o.deltas, o.named)
		}
	}
	var sum int64
	for _, n := range k.committed {
		sum += n
	}
	k.t.Logf("%-8s  %d transactions are there, %d audits went well, %d databases made anew", k.mode, sum, k.audits, k.rebuilt)
}

// draw returns one of several values.
func draw[T any](rnd *rand.Rand, values ...T) T { return values[rnd.IntN(len(values))] }
