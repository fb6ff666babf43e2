package state

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"weir/fuse/crashfs"
)

// mount mounts a file system that records, with times of a kernel's timer tick.
func mount(t *testing.T) (f *crashfs.FS, at string) {
	t.Helper()
	base := t.TempDir()
	at, data := filepath.Join(base, "disk"), filepath.Join(base, "data")
	if err := errors.Join(os.Mkdir(at, 0o755), os.Mkdir(data, 0o755)); err != nil {
		t.Fatal(err)
	}
	f, err := crashfs.Mount(at, data, nil, nil)
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

func identify(t *testing.T, how func(*os.File) (FileID, error), f *os.File) FileID {
	t.Helper()
	id, err := how(f)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A write right after a file was identified is found, however coarse the clock is.
func TestFileIDChanges(t *testing.T) {
	_, at := mount(t)
	f, err := os.Create(filepath.Join(at, "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 20 {
		was := identify(t, IdentifySettled, f)
		if is := identify(t, Identify, f); is != was {
			t.Fatalf("got %v without a change, want %v", is, was)
		}
		if _, err := f.WriteAt([]byte{byte(i)}, 0); err != nil {
			t.Fatal(err)
		}
		if is := identify(t, Identify, f); i > 0 && is == was {
			t.Fatalf("got %v after a change", is)
		}
	}
}

// What was identified before the machine was started anew is never the same.
func TestFileIDAfterBoot(t *testing.T) {
	kernels, boots := bootFile, filepath.Join(t.TempDir(), "boot")
	t.Cleanup(func() { bootFile = kernels })
	f, err := os.Create(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if was := identify(t, Identify, f); identify(t, Identify, f) != was || was.Boot == "" {
		t.Errorf("got another identification than %v at once", was)
	}
	bootFile = boots // the kernel does not say
	was := identify(t, Identify, f)
	if identify(t, Identify, f) == was {
		t.Errorf("got the same identification %v of what may be another boot", was)
	}
	if err := os.WriteFile(boots, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	was = identify(t, Identify, f)
	if err := os.WriteFile(boots, []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if identify(t, Identify, f) == was {
		t.Errorf("got the same identification %v of another boot", was)
	}
}

// What is synced in the directory is not lost with the directory.
func TestOpenIsDurable(t *testing.T) {
	f, at := mount(t)
	root, err := os.OpenRoot(at)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	dir, err := Open(root, "db")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	id, err := dir.Create("id")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(id.Sync(), id.Close(), SyncDir(dir)); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(50) {
		loss := crashfs.RandomLoss(seed)
		im, err := f.PowerLoss(f.Len(), loss, filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := im.Size(".weir/db/id"); !ok {
			t.Errorf("%s: the file is lost", loss)
		}
	}
}
