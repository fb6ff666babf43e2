package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"weir/fuse/crashfs"
)

var (
	powerCuts = flag.Int("power.cuts", 1, "power failures for each way to write")
	powerSeed = flag.Uint64("power.seed", 0, "of the power failures; 0: a new one")
	powerOnly = flag.Int("power.only", -1, "only the power failure of this number")
)

// writing is a way to write, with what SQLite promises of it after a power failure
// (https://sqlite.org/pragma.html#pragma_synchronous).
type writing struct {
	mode, synchronous string
	sound             bool // the database is not damaged
	durable           bool // what was committed is there
}

func (w writing) String() string { return w.mode + " " + w.synchronous }

// In rollback modes NORMAL leaves a chance of damage, and in DELETE a commit is durable once the directory is synced.
var writings = []writing{
	{"WAL", "FULL", true, true},
	{"WAL", "NORMAL", true, false},
	{"DELETE", "EXTRA", true, true},
	{"DELETE", "FULL", true, false},
	{"TRUNCATE", "FULL", true, true},
	{"PERSIST", "FULL", true, true},
	{"WAL", "OFF", false, false},
	{"DELETE", "OFF", false, false},
	{"DELETE", "NORMAL", false, false},
	{"PERSIST", "NORMAL", false, false},
}

// Power fails on the primary, on the replica or on both at once, at any moment of their lives, with what was not synced
// lost in any way. Weir is started again on what is left. The primary's database is then what SQLite makes of the same
// files without weir: damaged only where SQLite promises nothing better, and with all commits that it promises to keep.
// The replica comes to it, page by page, also where it was ahead of it, and its readers see only what was once committed.
func TestPowerLoss(t *testing.T) {
	skipRaced(t)
	test := powerTest{writings: writings, mount: mountDisk, seed: *powerSeed, cuts: *powerCuts, only: *powerOnly}
	test.run(t, (*recording).chooseFailure)
}

// powerTest records the lives of a primary and a replica for each way to write, and has power fail in each.
type powerTest struct {
	writings []writing
	mount    mounting
	seed     uint64 // 0: a new one
	cuts     int    // for each way
	only     int    // of these the one of this number, -1: all
}

func (p powerTest) run(t *testing.T, choose func(*recording, *rand.Rand) failure) {
	weir := buildPowerWeir(t)
	for _, w := range p.writings {
		t.Run(w.String(), func(t *testing.T) {
			t.Parallel()
			seed := p.seed
			for seed == 0 {
				seed = rand.Uint64()
			}
			t.Logf("seed %d", seed)
			r := recordLives(t, weir, w, p.mount, rand.New(rand.NewPCG(seed, 0)))
			t.Logf("%d operations of the primary's disk, %d of the replica's, %d commits", r.primary.fs.Len(), r.replica.fs.Len(), len(r.acks))
			var sum outcome
			for i := range p.cuts {
				if p.only >= 0 && i != p.only {
					continue
				}
				f := choose(r, rand.New(rand.NewPCG(seed, uint64(i)+1)))
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					t.Log(f)
					sum.add(r.fail(t, f))
				})
			}
			t.Logf("%d power failures: %s", p.cuts, sum)
		})
	}
}

// outcome counts what came of power failures.
type outcome struct {
	ahead   int // the replica was ahead of the primary
	resumed int // the replica went on by its position
	pages   int // it got the pages that differ
	damaged int // SQLite itself has a damaged database
	refused int // one that it cannot even open, and so weir refuses
}

func (o *outcome) add(p outcome) {
	o.ahead += p.ahead
	o.resumed += p.resumed
	o.pages += p.pages
	o.damaged += p.damaged
	o.refused += p.refused
}

func (o outcome) String() string {
	return fmt.Sprintf("the replica was ahead %d times, went on %d times, got pages %d times; SQLite itself damaged %d databases, and %d beyond opening",
		o.ahead, o.resumed, o.pages, o.damaged, o.refused)
}

// failure is a moment and what is lost then.
type failure struct {
	moment
	primaryLoss, replicaLoss *crashfs.Loss // nil: its power stays, and its processes end
}

func (f failure) String() string {
	return fmt.Sprintf("primary after %d operations: %v; replica after %d: %v", f.primary, f.primaryLoss, f.replica, f.replicaLoss)
}

// chooseMoment chooses a clean end, after which weir relies on what it saved, or any operation of either side.
func (r *recording) chooseMoment(rnd *rand.Rand) (m moment) {
	if i := rnd.IntN(4 * len(r.ends)); i < len(r.ends) {
		return r.ends[i]
	}
	p, q := r.primary.fs.Len()-r.primary.ready, r.replica.fs.Len()-r.replica.ready
	if n := rnd.IntN(p + q + 2); n <= p {
		m.primary = r.primary.ready + n
		m.replica = max(r.primary.peerAt(m.primary), r.replica.ready)
	} else {
		m.replica = r.replica.ready + n - p - 1
		m.primary = max(r.replica.peerAt(m.replica), r.primary.ready)
	}
	return m
}

// chooseFailure chooses a moment, and whose power fails.
func (r *recording) chooseFailure(rnd *rand.Rand) failure {
	f := failure{moment: r.chooseMoment(rnd)}
	who := rnd.IntN(3)
	if who != 0 {
		loss := crashfs.RandomLoss(rnd.Uint64())
		f.primaryLoss = &loss
	}
	if who != 1 {
		loss := crashfs.RandomLoss(rnd.Uint64())
		f.replicaLoss = &loss
	}
	return f
}
