package stream

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

const (
	asideSuffix = ".bad"

	// asideKept is how many files of one name are kept that were set aside. Log segments, whose names differ, are kept as
	// far as MaxBytes goes.
	asideKept = 3
)

// SetAside renames what cannot be used to a name under which it is kept in dir: its own, a number that is higher than
// those before, and ".bad". The files with one of the suffixes go with it; the last of them says that all went, and where
// a crash came before that the next call goes on under the same number. What is missing is left out. Of each name the
// newest three are kept. Paths are below root, and nothing is synced.
func SetAside(root *os.Root, file, dir string, suffixes ...string) (to string, err error) {
	name := path.Base(file)
	suffixes = append([]string{""}, suffixes...)
	n, err := asideNumber(root, dir, name, suffixes[len(suffixes)-1])
	if err != nil {
		return "", err
	}
	to = path.Join(dir, asideName(name, n))
	for _, suffix := range suffixes {
		if err := root.Rename(file+suffix, to+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return to, trimNumbers(root, dir, name, suffixes, n-asideKept)
}

// CreateAside makes a file for what is to be kept under name, as SetAside names and bounds them.
func CreateAside(dir *os.Root, name string) (*os.File, error) {
	n, err := asideNumber(dir, ".", name, "")
	if err != nil {
		return nil, err
	}
	f, err := dir.OpenFile(asideName(name, n), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, trimNumbers(dir, ".", name, []string{""}, n-asideKept)
}

func asideName(name string, n int) string { return fmt.Sprintf("%s.%d%s", name, n, asideSuffix) }

// asideNumber returns the number after those under which name was set aside in dir.
func asideNumber(root *os.Root, dir, name, suffix string) (next int, err error) {
	return next, eachAside(root, dir, name, suffix, func(n int) error {
		next = max(next, n+1)
		return nil
	})
}

// trimNumbers removes what was set aside in dir under name and a number up to last.
func trimNumbers(root *os.Root, dir, name string, suffixes []string, last int) error {
	for _, suffix := range suffixes {
		err := eachAside(root, dir, name, suffix, func(n int) error {
			if n > last {
				return nil
			}
			return root.Remove(path.Join(dir, asideName(name, n)+suffix))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func eachAside(root *os.Root, dir, name, suffix string, do func(n int) error) error {
	files, err := fs.ReadDir(root.FS(), path.Clean(dir))
	if err != nil {
		return err
	}
	for _, f := range files {
		rest, ok := strings.CutPrefix(f.Name(), name+".")
		number, is := strings.CutSuffix(rest, asideSuffix+suffix)
		n, err := strconv.Atoi(number)
		if !ok || !is || err != nil || n < 0 {
			continue
		}
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}
