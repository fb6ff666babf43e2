package fuse

import (
	"context"
	"fmt"
	"math"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"weir/stream"
)

// Names of files in a mounted directory that say where its databases are, as LiteFS has them:
//
//	db-pos    the position of the database called db: TXID/checksum, 16 hex digits each
//	.lag      how far the replicas are behind, in ms, at most; 0 on a primary, the greatest number where nothing is shown yet
//	.primary  the URL of the weir that they follow; there is none on a primary
//
// They are not listed, and made up when they are read. A file of such a name that there is goes before.
const (
	posSuffix   = "-pos"
	lagName     = ".lag"
	primaryName = ".primary"
)

// Lengths do not depend on what a file says, for the kernel asks for them first.
const (
	lagFormat = "%+010d\n"
	posLength = uint64(len("0123456789abcdef/0123456789abcdef\n"))
	lagLength = uint64(len("+000000000\n"))
)

// uncached is a timeout: 0 stands for the mount's own.
const uncached = time.Nanosecond

// virtual is such a file.
type virtual struct {
	fs.Inode
	size    uint64
	content func() string // may take locks of the middle; not called with the directory's lock held, as Lookup is
}

// virtual returns the node of the virtual file called name below the directory, nil where there is none.
func (d *directory) virtual(name string) *virtual {
	switch {
	case name == lagName:
		return &virtual{size: lagLength, content: d.lag}
	case name == primaryName && d.readOnly:
		url := d.upstream() + "\n"
		return &virtual{size: uint64(len(url)), content: func() string { return url }}
	}
	db, ok := strings.CutSuffix(name, posSuffix)
	if !ok || !d.has(db) || d.has(name) {
		return nil
	}
	return &virtual{size: posLength, content: func() string { return d.position(db).String() + "\n" }}
}

// upstream is the URL of the weir that a replica follows.
func (d *directory) upstream() string {
	for _, name := range d.databases() {
		if replica := d.applied(name); replica != nil {
			return replica.Upstream()
		}
	}
	for _, p := range d.patterns {
		return p.Upstream.URL
	}
	return ""
}

// has tells whether a database of ours is called name, and is there, or may come.
func (d *directory) has(name string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.members[name]
	return (m == nil || m.there) && (d.captures[name] != nil || d.applies[name] != nil)
}

// position is the one that readers see. On a primary it has all that was committed before.
func (d *directory) position(db string) stream.Pos {
	if captured := d.captured(db); captured != nil {
		captured.Capture()
		return captured.Log().Published()
	}
	replica := d.applied(db)
	if replica == nil || d.unready(db) {
		return stream.Pos{}
	}
	_, pos := replica.Pos()
	return pos
}

// lag is that of the replica that is furthest behind.
func (d *directory) lag() string {
	var lag int64
	for _, replica := range d.replicas() {
		lag = max(lag, replica.Lag().Milliseconds())
		if !isReady(replica) {
			lag = math.MaxInt32
		}
	}
	return fmt.Sprintf(lagFormat, min(lag, math.MaxInt32))
}

// lookupVirtual looks a name up that no file has.
func (n *node) lookupVirtual(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if !n.IsRoot() && !n.dir.recursive() {
		return nil, syscall.ENOENT
	}
	at, _ := n.at(name)
	v := n.dir.virtual(at)
	if v == nil {
		return nil, syscall.ENOENT
	}
	child := n.GetChild(name)
	if child == nil || !isVirtual(child) {
		child = n.NewInode(ctx, v, fs.StableAttr{Mode: syscall.S_IFREG})
	}
	v.attr(&out.Attr)
	out.SetEntryTimeout(uncached) // a file of that name may come
	out.SetAttrTimeout(uncached)
	return child, 0
}

func isVirtual(i *fs.Inode) bool {
	_, ok := i.Operations().(*virtual)
	return ok
}

func (v *virtual) attr(a *fuse.Attr) {
	now := time.Now()
	a.Mode, a.Nlink, a.Size = syscall.S_IFREG|0o444, 1, v.size
	a.SetTimes(&now, &now, &now)
}

var _ = (fs.NodeGetattrer)((*virtual)(nil))

// Getattr gives a length, and now as the time of the last change.
func (v *virtual) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	v.attr(&out.Attr)
	out.SetTimeout(uncached)
	return 0
}

var _ = (fs.NodeOpener)((*virtual)(nil))

// Open opens for reading, past the kernel's cache.
func (v *virtual) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		return nil, 0, syscall.EACCES
	}
	return &virtualFile{content: v.content}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
}
