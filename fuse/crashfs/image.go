package crashfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Image is a state of a file system: what a crash left. [Mount] begins with one.
type Image struct {
	tree *tree
	dir  string // of the contents; empty: there are no files
}

// entries are the names in a directory that a mount begins with.
func (im *Image) entries(ino uint64) map[string]uint64 {
	if n := im.tree.inodes[ino]; n != nil {
		return n.entries
	}
	return nil
}

// copyContents copies an inode's bytes into dir, and returns the copy, open.
func (im *Image) copyContents(dir string, ino uint64) (*os.File, error) {
	from, err := os.Open(contents(im.dir, ino))
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := os.Create(contents(dir, ino))
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(to, from); err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return to, nil
}

// Size returns the size of the file at path, which is as that of an [Op], and whether it exists.
func (im *Image) Size(path string) (int64, bool) {
	n, _ := im.find(path)
	if n == nil || n.isDir() {
		return 0, false
	}
	return n.size, true
}

// ReadFile returns the contents of the file at path.
func (im *Image) ReadFile(path string) ([]byte, error) {
	n, ino := im.find(path)
	if n == nil || n.isDir() {
		return nil, fmt.Errorf("%s: %w", path, os.ErrNotExist)
	}
	return os.ReadFile(contents(im.dir, ino))
}

func (im *Image) find(path string) (n *inode, ino uint64) {
	ino = rootIno
	for name := range strings.SplitSeq(path, "/") {
		if n := im.tree.inodes[ino]; n == nil || n.entries[name] == 0 {
			return nil, 0
		}
		ino = im.tree.inodes[ino].entries[name]
	}
	return im.tree.inodes[ino], ino
}

// CopyTo writes the files into dir, an empty directory. Modes are kept, but neither owners nor times nor links.
func (im *Image) CopyTo(dir string) error { return im.copyTree(dir, rootIno) }

func (im *Image) copyTree(dir string, ino uint64) error {
	for name, child := range im.tree.inodes[ino].entries {
		to, n := filepath.Join(dir, name), im.tree.inodes[child]
		var err error
		if n.isDir() {
			err = errors.Join(os.Mkdir(to, 0o755), im.copyTree(to, child))
		} else {
			err = im.copyFile(to, child)
		}
		if err = errors.Join(err, os.Chmod(to, os.FileMode(n.mode&0o777))); err != nil {
			return err
		}
	}
	return nil
}

func (im *Image) copyFile(to string, ino uint64) error {
	data, err := os.ReadFile(contents(im.dir, ino))
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// Remove removes the image's files.
func (im *Image) Remove() error { return os.RemoveAll(im.dir) }

// After makes, in the new directory dir, what is there after the first n operations: what the death of every process
// leaves.
func (f *FS) After(n int, dir string) (*Image, error) {
	all := &survival{ops: f.prefix(n), journal: n, all: true}
	return f.image(all, dir)
}

// PowerLoss makes, in the new directory dir, what a power failure after the first n operations may leave.
func (f *FS) PowerLoss(n int, loss Loss, dir string) (*Image, error) {
	return f.image(survive(f.start.tree, f.prefix(n), loss), dir)
}

func (f *FS) prefix(n int) []Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops[:n:n]
}

// image makes what survives.
func (f *FS) image(s *survival, dir string) (*Image, error) {
	im := &Image{tree: s.tree(f.start.tree.clone()), dir: dir}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	c := &copier{fs: f, survival: s, image: im, files: make(map[uint64]*os.File), seen: make(map[unit]int)}
	if err := errors.Join(c.run(), c.close()); err != nil {
		return nil, fmt.Errorf("make the image of a crash in %s: %w", dir, err)
	}
	return im, nil
}

// copier writes the contents of an image.
type copier struct {
	fs *FS
	*survival
	image *Image
	files map[uint64]*os.File // of the inodes that survive
	seen  map[unit]int        // writes to a unit so far that were not durable
}

func (c *copier) run() error {
	if err := c.open(); err != nil {
		return err
	}
	for i, o := range c.ops {
		if c.files[o.ino] == nil {
			continue
		}
		if err := c.copyOp(i, o); err != nil {
			return err
		}
	}
	return c.finish()
}

func (c *copier) open() (err error) {
	for ino, n := range c.image.tree.inodes {
		switch {
		case n.isDir():
		case c.fs.start.tree.inodes[ino] != nil:
			c.files[ino], err = c.fs.start.copyContents(c.image.dir, ino)
		default:
			c.files[ino], err = os.Create(contents(c.image.dir, ino))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) copyOp(i int, o Op) error {
	file := c.files[o.ino]
	switch {
	case o.Kind == Write:
		data, err := c.fs.written(o)
		if err != nil {
			return err
		}
		if c.synced(i, o) {
			_, err = file.WriteAt(data, o.Off)
			return err
		}
		return c.pieces(o.ino, o.Off, data)
	case o.Kind == Truncate && c.synced(i, o):
		return file.Truncate(o.Off)
	case o.Kind == Truncate && c.before[i] > o.Off:
		return c.pieces(o.ino, o.Off, make([]byte, c.before[i]-o.Off))
	}
	return nil
}

// pieces writes those units of data that survive.
func (c *copier) pieces(ino uint64, off int64, data []byte) error {
	for len(data) > 0 {
		u, n := c.unitAt(ino, off, int64(len(data)))
		if c.seen[u]++; c.seen[u] <= c.kept[u] {
			if _, err := c.files[ino].WriteAt(data[:n], off); err != nil {
				return err
			}
		}
		off, data = off+n, data[n:]
	}
	return nil
}

// finish fills in garbage, and gives the files their sizes.
func (c *copier) finish() error {
	for _, u := range c.garbage {
		if file := c.files[u.ino]; file != nil {
			if _, err := file.WriteAt(c.noise(u), u.n*c.loss.Grain); err != nil {
				return err
			}
		}
	}
	for ino, file := range c.files {
		if err := file.Truncate(c.image.tree.inodes[ino].size); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) close() error {
	var errs []error
	for _, file := range c.files {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}
