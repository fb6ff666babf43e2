package crashfs

import "fmt"

// Kind is what an operation does.
type Kind uint8

// The kinds of operations. Read is asked of [FS.Fail], and never recorded.
const (
	Create Kind = iota
	Mkdir
	Link
	Unlink
	Rmdir
	Rename
	Write
	Truncate
	Setattr // mode, owner or times
	Fsync
	Fdatasync
	Fsyncdir
	Read
)

var kindNames = [...]string{
	"create", "mkdir", "link", "unlink", "rmdir", "rename", "write", "truncate", "setattr", "fsync", "fdatasync", "fsyncdir", "read",
}

func (k Kind) String() string { return kindNames[k] }

// Op is one operation.
type Op struct {
	Kind Kind
	Path string // from the root, without a leading slash; the root is "."
	To   string // Link and Rename: the new path

	Off int64 // Write and Read: the offset in bytes. Truncate: the new size.
	Len int64 // Write and Read: bytes

	ino          uint64 // what is acted on: a file, or the directory of Fsyncdir
	dir, toDir   uint64 // the directories of Path and To, where names change
	name, toName string
	attr         attr  // Create, Mkdir and Setattr: as it is afterwards
	data         int64 // Write: where the bytes are in the spool
	time         int64 // ns since the epoch
}

// String returns the operation as a line of a golden list.
func (o Op) String() string {
	switch o.Kind {
	case Write, Read:
		return fmt.Sprintf("%s %s %d+%d", o.Kind, o.Path, o.Off, o.Len)
	case Truncate:
		return fmt.Sprintf("%s %s %d", o.Kind, o.Path, o.Off)
	case Link, Rename:
		return fmt.Sprintf("%s %s %s", o.Kind, o.Path, o.To)
	}
	return fmt.Sprintf("%s %s", o.Kind, o.Path)
}

// names tells whether such an operation changes names in directories.
func (k Kind) names() bool { return k <= Rename }
