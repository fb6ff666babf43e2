package crashfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/fuse/fusetest"
)

func shell(t *testing.T, db, script string) (string, error) {
	t.Helper()
	cmd := exec.Command("sqlite3", "-bail", "-cmd", ".timeout 10000", db)
	cmd.Stdin = strings.NewReader(script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func mustShell(t *testing.T, db, script string) string {
	t.Helper()
	out, err := shell(t, db, script)
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return out
}

func lines(ops []Op) (list []string) {
	for _, o := range ops {
		list = append(list, o.String())
	}
	return list
}

// The operations of a program are recorded as it does them.
func TestGoldenList(t *testing.T) {
	f, at := mount(t, nil, nil)
	path := func(name string) string { return filepath.Join(at, name) }
	w, err := os.Create(path("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt([]byte("hello"), 3); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(w.Sync(), syscall.Fdatasync(int(w.Fd())), w.Truncate(4), os.Mkdir(path("d"), 0o700), os.Rename(path("a"), path("d/b")),
		os.Link(path("d/b"), path("c")), os.Chmod(path("c"), 0o600), os.Remove(path("d/b")), dir.Sync(), os.Remove(path("c")), os.Remove(path("d")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create a", "write a 3+5", "fsync a", "fdatasync a", "truncate a 4", "mkdir d", "rename a d/b", "link d/b c", "setattr c",
		"unlink d/b", "fsyncdir .", "unlink c", "rmdir d", "write c 0+1",
	}
	if got := lines(f.Ops(0)); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// An operation that shall fail fails, and is not recorded.
func TestInjectedErrors(t *testing.T) {
	f, at := mount(t, nil, func(n int, o Op) syscall.Errno {
		switch o.String() {
		case "write full 0+1":
			return syscall.ENOSPC
		case "fsync bad", "create none":
			return syscall.EIO
		}
		if o.Kind == Read && o.Path == "bad" {
			return syscall.EIO
		}
		return 0
	})
	if err := os.WriteFile(filepath.Join(at, "full"), []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	if err := os.WriteFile(filepath.Join(at, "none"), nil, 0o600); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
	w, err := os.Create(filepath.Join(at, "bad"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
	if _, err := w.ReadAt(make([]byte, 1), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want EIO", err)
	}
	if got, want := lines(f.Ops(0)), []string{"create full", "create bad", "write bad 0+1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What was synced is there, whatever else is lost, and all of the rest is lost at times.
func TestOnlySyncedSurvives(t *testing.T) {
	f, at := mount(t, nil, nil)
	dir, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.Create(filepath.Join(at, "a"))
	if err != nil {
		t.Fatal(err)
	}
	synced, later := strings.Repeat("s", 10000), strings.Repeat("l", 10000)
	_, err = w.WriteString(synced)
	err = errors.Join(err, w.Sync(), dir.Sync())
	if err == nil {
		_, err = w.WriteAt([]byte(later), 5000)
	}
	if err = errors.Join(err, os.Rename(filepath.Join(at, "a"), filepath.Join(at, "b")), w.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
	sizes, names, torn := make(map[int]bool), make(map[string]bool), false
	for seed := range uint64(200) {
		loss := RandomLoss(seed)
		im, err := f.PowerLoss(f.Len(), loss, filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		name := "a"
		if _, ok := im.Size("b"); ok {
			name = "b"
		}
		data, err := im.ReadFile(name)
		if err != nil {
			t.Fatalf("%s: %v", loss, err)
		}
		sizes[len(data)], names[name] = true, true
		if len(data) < len(synced) || string(data[:4608]) != synced[:4608] {
			t.Fatalf("%s: what was synced is lost", loss)
		}
		torn = torn || strings.Contains(string(data[:10000]), "ls")
	}
	if len(names) != 2 || !sizes[10000] || !sizes[15000] || !torn {
		t.Errorf("got names %v, sizes %v, torn %t, want all that there can be", names, sizes, torn)
	}
}

// A mount of what is left shows it with the same inode numbers and times.
func TestMountImage(t *testing.T) {
	f, at := mount(t, nil, nil)
	if err := errors.Join(os.Mkdir(filepath.Join(at, "d"), 0o700), os.WriteFile(filepath.Join(at, "d", "a"), []byte("x"), 0o640)); err != nil {
		t.Fatal(err)
	}
	im, err := f.After(f.Len(), filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	_, again := mount(t, im, nil)
	var was, is syscall.Stat_t
	if err := errors.Join(syscall.Stat(filepath.Join(at, "d", "a"), &was), syscall.Stat(filepath.Join(again, "d", "a"), &is)); err != nil {
		t.Fatal(err)
	}
	was.Dev, is.Dev = 0, 0
	if was != is {
		t.Errorf("got %+v, want %+v", is, was)
	}
	data, err := os.ReadFile(filepath.Join(again, "d", "a"))
	if string(data) != "x" || err != nil {
		t.Errorf("got %q, %v", data, err)
	}
}

// SQLite keeps its promises here: what it says of a power failure holds for this one, with synchronous=EXTRA, and does
// not with OFF.
func TestSQLite(t *testing.T) {
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			if broken := crashSQLite(t, mode, "EXTRA"); broken > 0 {
				t.Errorf("%d images are broken", broken)
			}
			if broken := crashSQLite(t, mode, "OFF"); broken == 0 {
				t.Error("no image is broken with synchronous=OFF")
			}
		})
	}
}

// crashSQLite counts the power failures after which SQLite has a damaged database, or one without what was committed.
func crashSQLite(t *testing.T, mode, synchronous string) (broken int) {
	const images = 30
	f, at := mount(t, nil, nil)
	db := filepath.Join(at, "db")
	begin := fmt.Sprintf("PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=10;", mode, synchronous)
	mustShell(t, db, begin+"CREATE TABLE t (a, b);")
	var committed []int // by rows: the number of operations after the commit
	for range 8 {
		mustShell(t, db, begin+"INSERT INTO t SELECT max(rowid), randomblob(3000) FROM t; UPDATE t SET b = randomblob(2000) WHERE rowid % 3 = 0;")
		committed = append(committed, f.Len())
	}
	ops := f.Len()
	for i := range images {
		n, seed := ops-i*ops/images, uint64(i)
		base := t.TempDir()
		im, err := f.PowerLoss(n, RandomLoss(seed), filepath.Join(base, "image"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Mkdir(filepath.Join(base, "files"), 0o700), im.CopyTo(filepath.Join(base, "files"))); err != nil {
			t.Fatal(err)
		}
		want := 0
		for rows, at := range committed {
			if at <= n {
				want = rows + 1
			}
		}
		out, err := shell(t, filepath.Join(base, "files", "db"), fmt.Sprintf("PRAGMA integrity_check; SELECT count(*) >= %d FROM t;", want))
		if (err != nil || out != "ok\n1") && (want > 0 || out == "" || !strings.Contains(out, "no such table")) {
			if broken++; synchronous != "OFF" {
				t.Logf("after %d of %d, %s: %v %s, want %d rows", n, ops, RandomLoss(seed), err, out, want)
			}
		}
	}
	return broken
}

// A mount namespace that was made meanwhile has a copy of the mount, and the kernel keeps the file system for it.
func TestCloseBesideCopy(t *testing.T) {
	at, record := t.TempDir(), t.TempDir()
	f, err := Mount(at, record, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := fusetest.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 100")
	out, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 1)) // it has its namespace
	}
	if err != nil {
		t.Fatal(errors.Join(err, f.Close()))
	}
	defer other.Wait()
	defer other.Process.Kill()
	began := time.Now()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("Close took %v", took)
	}
}
