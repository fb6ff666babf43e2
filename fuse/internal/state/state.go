// Package state is what a primary and a replica have in common of weir's own files beside a database, and of how they tell
// whether somebody else changed a file of it.
package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Dir is the directory beside the databases in which weir keeps its own files: for a database db, its log and page
// checksums are in .weir/db.
const Dir = ".weir"

// Path is where the files of the database called name are, below the mounted directory. One in a directory there,
// sub/db, has .weir/sub/.weir/db: what is called sub may be a database at another time.
func Path(name string) string {
	return filepath.Join(Dir, strings.ReplaceAll(name, "/", "/"+Dir+"/"))
}

// Name is the database whose files are in dir, as Path says; "" where they are none's.
func Name(dir string) string {
	name := strings.TrimPrefix(strings.ReplaceAll(dir, "/"+Dir+"/", "/"), Dir+"/")
	if Path(name) != dir {
		return ""
	}
	return name
}

// Open opens the directory for the database called name in root, and makes it where it is missing. It is durable before
// anything is put into it: a primary that lost its log's identity would be another database to its replicas.
func Open(root *os.Root, name string) (*os.Root, error) {
	dir := Path(name)
	if err := root.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := syncParents(root, dir); err != nil {
		return nil, err
	}
	return root.OpenRoot(dir)
}

// syncParents syncs the directories that dir is in, from root on.
func syncParents(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := syncParents(root, parent); err != nil {
		return err
	}
	return syncDir(root, parent)
}

// SyncDir makes durable which names are in dir.
func SyncDir(dir *os.Root) error { return syncDir(dir, ".") }

// SyncParent makes durable that the entry called name is in its directory.
func SyncParent(root *os.Root, name string) error { return syncDir(root, filepath.Dir(name)) }

func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
