package state

import (
	"errors"
	"os"
	"path/filepath"

	"weir/stream"
)

// SetAside moves a file that cannot be used, and those that are named like it but for one of the suffixes, to weir's own
// files of the database called name, as [stream.SetAside] names and bounds them. The path is below root, and so is the
// one that it returns. The move is durable then.
func SetAside(root *os.Root, name, path string, suffixes ...string) (to string, err error) {
	dir := Path(name)
	if to, err = stream.SetAside(root, path, dir, suffixes...); err != nil {
		return "", err
	}
	// The new names first: a file system may sync each directory by itself.
	return to, errors.Join(syncDir(root, dir), syncDir(root, filepath.Dir(path)))
}
