package crashfs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Record mounts an empty file system at a directory of the test's, for as long as the test runs.
func Record(t *testing.T) (f *FS, at string) {
	t.Helper()
	return mount(t, nil, nil)
}

// mount is Record with a start and failures; see [Mount].
func mount(t *testing.T, start *Image, fail func(int, Op) syscall.Errno) (f *FS, at string) {
	t.Helper()
	base := t.TempDir()
	at, record := filepath.Join(base, "disk"), filepath.Join(base, "record")
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(record, 0o755)); err != nil {
		t.Fatal(err)
	}
	f, err := Mount(at, record, start, fail)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, at
}
