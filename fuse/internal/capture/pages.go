package capture

import (
	"maps"
	"slices"

	"weir/fuse/internal/dbfile"
)

func addPage(pages map[uint32]struct{}, pgno uint32) map[uint32]struct{} {
	if pages == nil {
		pages = make(map[uint32]struct{})
	}
	pages[pgno] = struct{}{}
	return pages
}

// sortedPages lists the pages of a set up to size, ascending, without the lock
// page.
func sortedPages[V any](set map[uint32]V, size, pageSize uint32) []uint32 {
	pages := slices.Sorted(maps.Keys(set))
	return slices.DeleteFunc(pages, func(pgno uint32) bool { return pgno == dbfile.LockPgno(pageSize) || pgno > size })
}
