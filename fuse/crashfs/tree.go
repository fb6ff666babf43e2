package crashfs

import (
	"maps"
	"slices"
	"syscall"
)

const rootIno = 1

// attr is what chmod, chown and utimes set.
type attr struct {
	mode     uint32 // with the file's type
	uid, gid uint32
	mtime    int64 // ns since the epoch
}

// inode is a file or directory without its contents.
type inode struct {
	attr
	size    int64             // bytes
	ctime   int64             // ns since the epoch
	entries map[string]uint64 // of a directory: inode numbers
}

func (n *inode) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// tree is a file system without contents.
type tree struct {
	inodes map[uint64]*inode
	last   uint64 // the highest inode number ever given
}

func newTree() *tree {
	root := &inode{attr: attr{mode: syscall.S_IFDIR | 0o755}, entries: make(map[string]uint64)}
	return &tree{inodes: map[uint64]*inode{rootIno: root}, last: rootIno}
}

func (t *tree) clone() *tree {
	c := &tree{inodes: make(map[uint64]*inode), last: t.last}
	for ino, n := range t.inodes {
		copied := *n
		copied.entries = maps.Clone(n.entries)
		c.inodes[ino] = &copied
	}
	return c
}

// apply does what o does to names, inodes and sizes.
func (t *tree) apply(o Op) {
	t.applyNames(o)
	t.applyInode(o)
}

// applyNames does what o does to directories. What a name refers to need not have been made: a file system may have
// lost that.
func (t *tree) applyNames(o Op) {
	switch o.Kind {
	case Create, Mkdir:
		t.enter(o.dir, o.name, o.ino)
	case Link:
		t.enter(o.toDir, o.toName, o.ino)
	case Unlink, Rmdir:
		t.leave(o.dir, o.name)
	case Rename:
		t.leave(o.dir, o.name)
		t.enter(o.toDir, o.toName, o.ino)
	}
}

func (t *tree) enter(dir uint64, name string, ino uint64) {
	if d := t.inodes[dir]; d != nil {
		d.entries[name] = ino
	}
}

func (t *tree) leave(dir uint64, name string) {
	if d := t.inodes[dir]; d != nil {
		delete(d.entries, name)
	}
}

// applyInode does what o does to the inode of a file, or to that of a new directory.
func (t *tree) applyInode(o Op) {
	if o.Kind == Create || o.Kind == Mkdir {
		t.add(o)
	}
	n := t.inodes[o.ino]
	if n == nil {
		return
	}
	switch o.Kind {
	case Write:
		n.size = max(n.size, o.Off+o.Len)
		n.mtime, n.ctime = o.time, o.time
	case Truncate:
		n.size = o.Off
		n.mtime, n.ctime = o.time, o.time
	case Setattr:
		n.attr, n.ctime = o.attr, o.time
	case Create, Mkdir, Link, Unlink, Rename:
		n.ctime = o.time
	}
}

// applySize does what o does to the size of a file, and nothing to its times.
func (t *tree) applySize(o Op) {
	n := t.inodes[o.ino]
	if n == nil {
		return
	}
	was := *n
	t.applyInode(o)
	n.attr, n.ctime = was.attr, was.ctime
}

func (t *tree) add(o Op) {
	n := &inode{attr: o.attr}
	if n.isDir() {
		n.entries = make(map[string]uint64)
	}
	t.inodes[o.ino] = n
	t.last = max(t.last, o.ino)
}

// prune drops names that lead to nothing, and what no name leads to.
func (t *tree) prune() {
	reached := make(map[uint64]*inode)
	t.reach(rootIno, reached)
	t.inodes = reached
}

func (t *tree) reach(ino uint64, reached map[uint64]*inode) {
	n := t.inodes[ino]
	reached[ino] = n
	for name, child := range n.entries {
		if t.inodes[child] == nil {
			delete(n.entries, name)
		} else if reached[child] == nil {
			t.reach(child, reached)
		}
	}
}

// sorted lists the inode numbers, so that choices by a seed are the same each time.
func (t *tree) sorted() []uint64 { return slices.Sorted(maps.Keys(t.inodes)) }
