package apply

import (
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// copies has readers use copies of the files, which follow only what the Mount is told, as a kernel's cache does.
var copies = flag.Bool("apply.copies", false, "have readers use copies that follow only what the mount is told")

// TestCopies runs the tests of what readers see over copies.
func TestCopies(t *testing.T) {
	if *copies {
		t.Skip("this is that run")
	}
	t.Parallel()
	const tests = "^(TestApply|TestLongReader|TestEveryMarkHeld|TestLongWAL|TestSnapshot|TestDelta|TestPageSizeChange)$"
	cmd := exec.Command(os.Args[0], "-apply.copies", "-test.run", tests)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// readersDir is where readers of the replica in dir find it.
func readersDir(dir string) string {
	if *copies {
		return filepath.Join(dir, "copies")
	}
	return dir
}

// copyMount is a mount whose readers see copies.
type copyMount struct {
	Locks
	from, to string
}

var _ = (Mount)((*copyMount)(nil))

// newCopies copies what there is. The wal-index is one file for as long as the mount is there.
func newCopies(dir string) (*copyMount, error) {
	m := &copyMount{from: dir, to: readersDir(dir)}
	if err := os.MkdirAll(m.to, 0o755); err != nil {
		return nil, err
	}
	for _, name := range []string{"db", "db-wal", "db-shm"} {
		os.Remove(filepath.Join(m.to, name)) // of the last run
		m.Changed(name)
	}
	return m, nil
}

// Changed gives the copy the size of the file. One that is new comes with what is in it.
func (m *copyMount) Changed(name string) {
	f, err := os.Open(filepath.Join(m.from, name))
	if err != nil {
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err == nil && os.Truncate(filepath.Join(m.to, name), fi.Size()) != nil {
		err = m.Wrote(name, 0, fi.Size())
	}
	if err != nil {
		panic(err)
	}
}

// Resize resizes the file and the copy.
func (m *copyMount) Resize(name string, size int64) error {
	if err := os.Truncate(filepath.Join(m.from, name), size); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(m.to, name), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func (m *copyMount) Wrote(name string, off, n int64) error {
	f, err := os.Open(filepath.Join(m.from, name))
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, off); err != nil && err != io.EOF {
		return err
	}
	return m.Store(name, off, b)
}

func (m *copyMount) Store(name string, off int64, b []byte) error {
	f, err := os.OpenFile(filepath.Join(m.to, name), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, off)
	return err
}
