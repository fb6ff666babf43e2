package fuse

import (
	"context"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// virtualFile is an open virtual file. What a read at its beginning finds, those behind it go on with, so that no reader gets
// a piece of one state and a piece of the next.
type virtualFile struct {
	content func() string

	mu   sync.Mutex // guards text
	text string     // as read last from the beginning
}

var _ = (fs.FileReader)((*virtualFile)(nil))

// Read reads anew at the beginning.
func (f *virtualFile) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off == 0 || f.text == "" {
		f.text = f.content()
	}
	if off >= int64(len(f.text)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, f.text[off:])]), 0
}
