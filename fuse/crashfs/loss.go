package crashfs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// Model is what a file system promises of what it was not asked to sync.
type Model uint8

const (
	// Journaled file systems keep names, sizes and times in one order: what survives of these are the first n changes,
	// and any sync that has one of them to write keeps all before it.
	Journaled Model = iota
	// Posix is only what POSIX promises: fsync keeps a file, and fsync of a directory the names in it. Each other name
	// survives or not, and each inode is as it was at some time.
	Posix
)

func (m Model) String() string { return [...]string{"journaled", "posix"}[m] }

// Loss is a way to lose what was not synced. The same Loss of the same operations leaves the same.
type Loss struct {
	Seed    uint64
	Model   Model
	Grain   int64 // bytes that are written as a whole, at their multiples: 512 or 4096
	Garbage bool  // what was added to a file and not written holds anything, not zeros
}

// RandomLoss is a loss chosen by a seed.
func RandomLoss(seed uint64) Loss {
	r := rand.New(rand.NewPCG(seed, 0))
	return Loss{Seed: seed, Model: Model(r.IntN(2)), Grain: []int64{512, 4096}[r.IntN(2)], Garbage: r.IntN(2) == 0}
}

func (l Loss) String() string {
	return fmt.Sprintf("seed %d, %s, grain %d, garbage %t", l.Seed, l.Model, l.Grain, l.Garbage)
}

// unit is a piece of a file of the size of the grain.
type unit struct {
	ino uint64
	n   int64 // its number
}

// survival is what a crash leaves of some operations.
type survival struct {
	ops  []Op
	loss Loss
	all  bool // everything: it was no power failure

	before  []int64        // the size of o.ino before the operation of that number
	sizes   map[uint64]int // by inode: size and contents after the operations before this one are durable
	inodes  map[uint64]int // by inode: and all of it after those before this one survives
	names   map[uint64]int // by directory: names
	journal int            // and of all inodes and directories
	kept    map[unit]int   // how many of the writes to a unit that were not durable survive
	garbage []unit         // what gets anything instead, in order
}

// survive chooses what survives of ops, which began with start.
func survive(start *tree, ops []Op, loss Loss) *survival {
	s := &survival{ops: ops, loss: loss, sizes: make(map[uint64]int), inodes: make(map[uint64]int), names: make(map[uint64]int)}
	durableSize := s.walk(start)
	s.chooseInodes(start)
	s.chooseUnits(durableSize)
	return s
}

// walk finds what is durable, and returns the sizes of files then.
func (s *survival) walk(start *tree) (durableSize map[uint64]int64) {
	durableSize = make(map[uint64]int64)
	size, grown := make(map[uint64]int64), make(map[uint64]bool)
	for ino, n := range start.inodes {
		size[ino], durableSize[ino] = n.size, n.size
	}
	barrier := 0
	for i, o := range s.ops {
		s.before = append(s.before, size[o.ino])
		switch o.Kind {
		case Write:
			grown[o.ino] = grown[o.ino] || o.Off+o.Len > size[o.ino]
			size[o.ino] = max(size[o.ino], o.Off+o.Len)
		case Truncate:
			size[o.ino], grown[o.ino] = o.Off, true
		case Create:
			grown[o.ino] = true
		case Fsync, Fdatasync:
			s.sizes[o.ino], durableSize[o.ino] = i, size[o.ino]
			if o.Kind == Fsync {
				s.inodes[o.ino] = i
			}
			if o.Kind == Fsync || grown[o.ino] {
				barrier = i
			}
			grown[o.ino] = false
		case Fsyncdir:
			s.names[o.ino], s.inodes[o.ino], barrier = i, i, i
		}
	}
	if s.loss.Model == Journaled {
		s.journal = s.between(barrier, len(s.ops), 0, 0)
	}
	return durableSize
}

// chooseInodes chooses at what time each inode survives, where that is not the same for all.
func (s *survival) chooseInodes(start *tree) {
	if s.loss.Model == Journaled {
		return
	}
	all := start.clone()
	for _, o := range s.ops {
		all.apply(o)
	}
	for _, ino := range all.sorted() {
		s.inodes[ino] = s.between(s.inodes[ino], len(s.ops), ino, 1)
	}
}

// chooseUnits chooses what survives of contents that are not durable.
func (s *survival) chooseUnits(durableSize map[uint64]int64) {
	s.kept = make(map[unit]int)
	low, high := make(map[unit]int), make(map[unit]int) // a cut is there as the size is, and what is written after it is not there without it
	for i, o := range s.ops {
		off, end := o.Off, o.Off+o.Len
		if o.Kind == Truncate {
			end = s.before[i]
		}
		if o.Kind != Write && o.Kind != Truncate || s.synced(i, o) {
			continue
		}
		for off < end {
			u, n := s.unitAt(o.ino, off, end-off)
			s.kept[u]++
			if o.Kind == Truncate && s.keepsSize(i, o) {
				low[u] = s.kept[u]
			} else if _, ok := high[u]; o.Kind == Truncate && !ok {
				high[u] = s.kept[u] - 1
			}
			off += n
		}
	}
	const block = 4096 // of the file system: what is behind the end of a file in its last block is zero
	for _, u := range slices.SortedFunc(maps.Keys(s.kept), compareUnits) {
		if most, ok := high[u]; ok {
			s.kept[u] = most
		}
		s.kept[u] = s.between(low[u], s.kept[u], u.ino, uint64(u.n)+2)
		allocated := (durableSize[u.ino] + block - 1) / block * block
		if s.kept[u] == 0 && s.loss.Garbage && u.n*s.loss.Grain >= allocated {
			s.garbage = append(s.garbage, u)
		}
	}
}

func compareUnits(a, b unit) int {
	if a.ino != b.ino {
		return int(int64(a.ino) - int64(b.ino))
	}
	return int(a.n - b.n)
}

// between chooses a number from low to high. Of one inode, the lowest, the highest, or each time another one.
func (s *survival) between(low, high int, ino, what uint64) int {
	style := rand.New(rand.NewPCG(s.loss.Seed, ino<<1)).IntN(4)
	r := rand.New(rand.NewPCG(s.loss.Seed^what*0x9e3779b97f4a7c15, ino<<1|1))
	if style > 1 {
		style = r.IntN(3)
	}
	switch style {
	case 0:
		return low
	case 1:
		return high
	}
	return low + r.IntN(high-low+1)
}

// unitAt returns the unit at an offset, and how many of the following n bytes are in it.
func (s *survival) unitAt(ino uint64, off, n int64) (unit, int64) {
	u := unit{ino, off / s.loss.Grain}
	return u, min(n, (u.n+1)*s.loss.Grain-off)
}

// synced tells whether a file's size and contents after operation i are durable.
func (s *survival) synced(i int, o Op) bool { return s.all || i < s.sizes[o.ino] }

// tree brings t, the file system before all operations, to what survives of it.
func (s *survival) tree(t *tree) *tree {
	for i, o := range s.ops {
		if o.Kind.names() && s.keepsNames(i, o) {
			t.applyNames(o)
		}
		switch {
		case o.Kind == Create || o.Kind == Mkdir || i < s.journal || i < s.inodes[o.ino]:
			t.applyInode(o)
		case i < s.sizes[o.ino]:
			t.applySize(o)
		}
	}
	t.prune()
	return t
}

// keepsSize tells whether the size of a file after operation i survives, or a later one.
func (s *survival) keepsSize(i int, o Op) bool {
	return i < s.journal || i < s.inodes[o.ino] || i < s.sizes[o.ino]
}

func (s *survival) keepsNames(i int, o Op) bool {
	if i < s.journal || i < s.names[o.dir] || i < s.names[o.toDir] {
		return true
	}
	return s.loss.Model == Posix && s.between(0, 1, o.dir+o.toDir, uint64(i)) == 1
}

// noise is what a unit holds that was never written.
func (s *survival) noise(u unit) []byte {
	r := rand.NewChaCha8([32]byte(fmt.Appendf(nil, "%032d", s.loss.Seed^u.ino<<40^uint64(u.n))[:32]))
	b := make([]byte, s.loss.Grain)
	r.Read(b)
	return b
}
