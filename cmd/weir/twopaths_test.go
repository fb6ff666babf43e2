package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Two paths of one directory are one directory, before the mount and through it.
func TestTwoWeirsByTwoPaths(t *testing.T) {
	for _, kind := range []string{"symbolic link", "bind mount before", "bind mount after"} {
		t.Run(kind, func(t *testing.T) {
			n := newPrimary(t)
			other := filepath.Join(t.TempDir(), "other")
			switch kind {
			case "symbolic link":
				if err := os.Symlink(n.dir, other); err != nil {
					t.Fatal(err)
				}
				n.start()
			case "bind mount before":
				bindMount(t, n.dir, other)
				n.start()
			case "bind mount after":
				n.start()
				bindMount(t, n.dir, other)
			}
			shell(t, n.db, auditSchema)
			out, err := tryCommand("timeout", "20", weirBinary, "mount", "-addr", "", filepath.Join(other, "db"))
			if err == nil || !strings.Contains(out, "another weir") || !strings.Contains(out, filepath.Dir(other)) && !strings.Contains(out, n.dir) {
				t.Errorf("got %v, %q, want an error that names the directory", err, out)
			}
			shell(t, n.db, auditStep)
			if got := shell(t, n.db, "SELECT n FROM counter; PRAGMA integrity_check"); got != "1\nok" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// One weir that is told of one directory by two paths refuses, too.
func TestOneWeirByTwoPaths(t *testing.T) {
	n := newPrimary(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(n.dir, other); err != nil {
		t.Fatal(err)
	}
	n.configure("addr: %q\ndbs:\n  - path: %s\n  - path: %s\n", n.addr, n.db, filepath.Join(other, "db2"))
	out, err := tryCommand("timeout", "20", weirBinary, "mount", "-config", n.conf)
	if err == nil || !strings.Contains(out, "another weir") {
		t.Errorf("got %v, %q, want an error", err, out)
	}
	if isMounted(n.dir) {
		t.Errorf("%s is mounted", n.dir)
	}
}

// bindMount shows dir at other until the test ends.
func bindMount(t *testing.T, dir, other string) {
	t.Helper()
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(dir, other, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for isMounted(other) {
			if err := unix.Unmount(other, unix.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", other, err)
				return
			}
		}
	})
}
