package apply

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weir/fuse/internal/state"
	"weir/stream"
)

// keptName is the name under which pages are kept that were not what they had to be: each in its place in a file of holes.
const keptName = "pages"

// keptMax is how many pages of one delta are kept.
const keptMax = 4096

// kept keeps the pages that a delta replaces in a database which is not what the log says.
type kept struct {
	d     *Database
	file  *os.File // nil before the first
	pages []uint32
}

// keep copies a page as it is.
func (k *kept) keep(pgno uint32) (err error) {
	if len(k.pages) == keptMax || pgno > k.d.hdr.Size {
		return nil
	}
	page := make([]byte, k.d.hdr.PageSize)
	if k.d.readPage(pgno, page) != nil {
		return nil // what cannot be read cannot be kept, and is replaced all the same
	}
	if k.file == nil {
		if k.file, err = stream.CreateAside(k.d.state, keptName); err != nil {
			return fmt.Errorf("keep damaged pages: %w", err)
		}
	}
	k.pages = append(k.pages, pgno)
	if _, err := k.file.WriteAt(page, int64(pgno-1)*int64(len(page))); err != nil {
		return fmt.Errorf("keep damaged page %d: %w", pgno, err)
	}
	return nil
}

// end closes the file, and says which pages the delta has replaced.
func (k *kept) end(replaced bool) error {
	if k.file == nil {
		return nil
	}
	if replaced {
		k.d.logger.Warn("pages of the database were replaced by the upstream's; they are kept", "db", k.d.path, "file", k.d.name,
			"pages", k.pages[:min(len(k.pages), pagesNamed)], "count", len(k.pages), "under", filepath.Join(state.Path(k.d.name), filepath.Base(k.file.Name())))
	}
	err := errors.Join(k.file.Sync(), k.file.Close())
	k.file = nil
	return err
}
