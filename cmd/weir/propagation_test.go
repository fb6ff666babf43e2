package main

import (
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// container is a shell in a mount namespace of its own, which gets what is mounted on the host, as by rslave.
type container struct{ *background }

func startContainer(t *testing.T) container {
	t.Helper()
	return container{startBackground(t, "unshare", "--mount", "--propagation", "slave", "sh")}
}

// sh runs a command that prints one line.
func (c container) sh(format string, args ...any) string {
	c.t.Helper()
	if _, err := io.WriteString(c.stdin, fmt.Sprintf(format, args...)+" 2>&1\n"); err != nil {
		c.t.Fatal(err)
	}
	return c.next()
}

// startContained starts weir in a mount namespace of its own, which shares mounts with the host's, as by rshared.
func (n *node) startContained() {
	n.t.Helper()
	n.startWith("unshare", "--mount", "--propagation", "unchanged", n.weir, "mount", "-config", n.conf)
}

// Containers of weir and of an application share the directory above the mount, as in compose.yaml: the application sees the
// mount, whichever was first, and the next one after weir was killed with its container.
func TestContainers(t *testing.T) {
	host := filepath.Join(t.TempDir(), "srv")
	bindMount(t, t.TempDir(), host)
	if err := unix.Mount("", host, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	n := newNodeAt(t, "primary", filepath.Join(host, "data"))
	n.lead()
	before := startContainer(t)
	n.startContained()
	after := startContainer(t)
	count := 0
	for _, killed := range []bool{false, true} {
		if killed {
			n.kill()
			n.startContained()
		}
		for _, app := range []container{before, after, startContainer(t)} {
			if got := app.sh("stat --file-system --format %%T %s", n.dir); got != "fuseblk" {
				t.Errorf("the application sees a file system of type %s, want fuseblk, which is FUSE's", got)
			}
			count++
			want := fmt.Sprint(count)
			if got := app.sh("sqlite3 %s 'CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1); SELECT count(*) FROM t'", n.db); got != want {
				t.Errorf("got %q, want %s", got, want)
			}
		}
	}
	n.stop()
	for _, app := range []container{before, after} {
		if got := app.sh("stat --file-system --format %%T %s", n.dir); got == "fuseblk" {
			t.Error("the application still sees the mount")
		}
		app.finish()
	}
}
