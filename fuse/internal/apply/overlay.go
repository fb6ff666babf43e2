package apply

import (
	"github.com/superfly/ltx"

	"weir/stream"
)

// overlay is a database state to be, as page checksums: those of a published state, and on top what
// is to change. The table below is not touched until apply.
type overlay struct {
	base  *stream.Sums // only read
	pages map[uint32]stream.Checksum
	kept  uint32 // pages of base that are still in the database
	size  uint32 // pages
	xor   stream.Checksum
	lock  uint32
}

func newOverlay(base *stream.Sums) *overlay {
	return &overlay{base: base, pages: make(map[uint32]stream.Checksum), kept: base.Len(), size: base.Len(),
		xor: base.Total(), lock: ltx.LockPgno(base.PageSize())}
}

// set notes the checksum of a page, and grows the database to it.
func (o *overlay) set(pgno uint32, sum stream.Checksum) {
	if pgno == o.lock {
		return
	}
	o.xor ^= o.page(pgno) ^ sum
	o.pages[pgno] = sum
	o.size = max(o.size, pgno)
}

func (o *overlay) page(pgno uint32) stream.Checksum {
	if sum, ok := o.pages[pgno]; ok {
		return sum
	}
	if pgno <= o.kept {
		return o.base.Page(pgno)
	}
	return 0
}

// resize cuts or grows the database to n pages.
func (o *overlay) resize(n uint32) {
	for pgno := n + 1; pgno <= o.size; pgno++ {
		o.xor ^= o.page(pgno)
		delete(o.pages, pgno)
	}
	o.size, o.kept = n, min(o.kept, n)
}

// after is the rolling checksum that a transaction of these pages leads to, which leaves a database of size pages.
func (o *overlay) after(pages []stream.SummedPage, size uint32) stream.Checksum {
	xor := o.xor
	for _, p := range pages {
		xor ^= o.page(p.Pgno) ^ p.CRC.Sum()
	}
	for pgno := size + 1; pgno <= o.size; pgno++ {
		xor ^= o.page(pgno)
	}
	return ltx.ChecksumFlag | xor
}

// total is the rolling checksum.
func (o *overlay) total() stream.Checksum { return ltx.ChecksumFlag | o.xor }

// apply writes the change into the table below.
func (o *overlay) apply() {
	o.base.Truncate(o.kept)
	for pgno, sum := range o.pages {
		o.base.Set(pgno, sum)
	}
	if o.base.Len() < o.size { // the last page is one without a checksum
		o.base.Set(o.size, 0)
	}
}
