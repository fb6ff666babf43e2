package fuse

import (
	"context"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
)

// renamed is a node's new name, which counts until the tree of nodes has it: that is when the request is answered.
type renamed struct{ from, to string }

// name is the path of n's file below the mounted directory; false where it has none any more.
func (n *node) name() (string, bool) {
	at, ok := treePath(&n.Inode)
	if r := n.renamed.Load(); r != nil {
		if ok && at == r.from {
			return r.to, true
		}
		n.renamed.CompareAndSwap(r, nil)
	}
	return at, ok
}

// treePath is an inode's path below the root; false where it is in no directory any more.
func treePath(i *fs.Inode) (at string, ok bool) {
	for !i.IsRoot() {
		name, parent := i.Parent()
		if parent == nil {
			return "", false
		}
		at, i = filepath.Join(name, at), parent
	}
	return at, true
}

// at is the path of the entry called name in n below the mounted directory; false where n is in no directory any more.
func (n *node) at(name string) (string, bool) {
	dir, ok := treePath(&n.Inode)
	return filepath.Join(dir, name), ok
}

// move is a rename in a directory whose databases come and go.
type move struct {
	d        *directory
	from, to string // below the directory
	exchange bool

	file, other *node // of what is moved, and of what was there; nil where the kernel knows none
}

// renameMembers runs op, the rename. What it makes a database is captured from its first page on, and what an app writes
// by a file that it has open is captured as what the file is then.
func (n *node) renameMembers(name string, to *node, newName string, flags uint32, op func() error) error {
	from, ok := n.at(name)
	into, also := to.at(newName)
	if !ok || !also {
		return syscall.ENOENT
	}
	m := &move{d: n.dir, from: from, to: into, exchange: flags&unix.RENAME_EXCHANGE != 0, file: n.child(name), other: to.child(newName)}
	n.dir.moving.Lock()
	defer n.dir.moving.Unlock()
	if err := m.check(); err != nil {
		return err
	}
	if err := m.expect(); err != nil {
		return err
	}
	if err := m.run(op); err != nil {
		return err
	}
	n.dir.note(from)
	n.dir.note(into)
	return nil
}

// child is the node of an entry of n that the kernel knows.
func (n *node) child(name string) *node {
	if i := n.GetChild(name); i != nil {
		child, _ := i.Operations().(*node)
		return child
	}
	return nil
}

// check refuses, as a rename to another file system, for which mv copies: a directory with databases in it, and what
// would be a companion of a database before or after it is a file of its own.
func (m *move) check() error {
	fi, err := m.d.root.Lstat(m.from)
	if err != nil {
		return err
	}
	if fi.IsDir() || m.exchange && m.isDir(m.to) {
		if m.d.membersBelow(m.from) || m.exchange && m.d.membersBelow(m.to) {
			return syscall.EXDEV
		}
		return nil
	}
	_, role := roleOf(m.from)
	_, toRole := roleOf(m.to)
	if (role == dbfile.RoleDatabase) != (toRole == dbfile.RoleDatabase) {
		return syscall.EXDEV
	}
	return nil
}

func (m *move) isDir(name string) bool {
	fi, err := m.d.root.Lstat(name)
	return err == nil && fi.IsDir()
}

// expect opens what becomes a database.
func (m *move) expect() error {
	if err := m.expectAs(m.from, m.to); err != nil || !m.exchange {
		return err
	}
	return m.expectAs(m.to, m.from)
}

func (m *move) expectAs(file, name string) error {
	if m.d.pattern(name) == nil || !m.d.isDatabase(file) {
		return nil
	}
	return m.d.expect(name)
}

// run runs op with all that it concerns captured before and after.
func (m *move) run(op func() error) error {
	db, role := m.captured(m.from)
	toDB, toRole := m.captured(m.to)
	all := func() error {
		if err := op(); err != nil {
			return err
		}
		m.file.nowAt(m.from, m.to)
		if m.exchange {
			m.other.nowAt(m.to, m.from)
		}
		return nil
	}
	if db == toDB {
		return remove(db, min(role, toRole), all)
	}
	both := func() error { return remove(toDB, toRole, all) }
	if role == dbfile.RoleDatabase && !m.exchange && m.d.comesAndGoes(m.from) {
		return db.Gone(both)
	}
	return remove(db, role, both)
}

func (m *move) captured(name string) (*capture.Database, dbfile.Role) {
	db, role := roleOf(name)
	return m.d.captured(db), role
}

// nowAt says that n's file has another name, before the tree has it.
func (n *node) nowAt(from, to string) {
	if n != nil {
		n.renamed.Store(&renamed{from, to})
	}
}

var _ = (fs.NodeLinker)((*node)(nil))

// Link refuses a second name of what is a database by one of its names: writes by the other would not be captured.
func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if n.hidden(name) {
		return nil, syscall.EPERM
	}
	if n.dir.follows() && (n.isMember(name) || isMember(target)) {
		return nil, syscall.EPERM
	}
	return n.LoopbackNode.Link(ctx, target, name, out)
}

// isMember tells whether an entry of n is, or by its name would be, a database that comes and goes.
func (n *node) isMember(name string) bool {
	at, ok := n.at(name)
	return ok && (n.dir.pattern(at) != nil || n.dir.captured(at) != nil)
}

func isMember(of fs.InodeEmbedder) bool {
	name, parent := of.EmbeddedInode().Parent()
	if parent == nil {
		return false
	}
	n, ok := parent.Operations().(*node)
	return ok && n.isMember(name)
}
