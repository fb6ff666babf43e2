package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"weir/fuse/crashfs"
)

// fail has power fail, and starts weir on what is left.
func (r *recording) fail(t *testing.T, f failure) (o outcome) {
	pImage, rImage := crash(t, r.primary, f.primary, f.primaryLoss), crash(t, r.replica, f.replica, f.replicaLoss)
	want, was := r.withoutWeir(t, pImage), r.withoutWeir(t, rImage)
	r.checkPromises(t, want, f.primary)
	p, q := mountDisks(t, r.mount, pImage, rImage)
	primary, replica := r.newNode(t, "primary", p, f.primaryLoss != nil), r.newNode(t, "replica", q, f.replicaLoss != nil)
	primary.lead()
	replica.follow(primary)
	if want.pages != nil || r.w.sound {
		primary.start()
	} else if primary.givesUp() {
		return outcome{refused: 1}
	}
	if got := readState(t, primary.db); !bytes.Equal(got.pages, want.pages) {
		t.Errorf("weir has another database than SQLite: %v, want %v", got, want)
	}
	replica.start()
	r.goOn(t, primary, replica)
	switch {
	case want.integrity != "ok":
		o.damaged++
	case was.counter > want.counter:
		o.ahead++
	}
	if snapshots(replica) > 0 {
		o.pages++
	} else {
		o.resumed++
	}
	replica.stop()
	primary.stop()
	return o
}

// givesUp starts a node on a database that SQLite itself cannot open, and tells whether weir says so and ends. It may
// serve it, too: SQLite looks at more than weir does.
func (n *node) givesUp() (ended bool) {
	n.t.Helper()
	n.spawn(n.weir, "mount", "-config", n.conf)
	n.eventually("an end or a mount", func() error {
		if ended = n.hasEnded(); ended || strings.Contains(n.logged(), "msg=serving") {
			return nil
		}
		return errors.New("neither")
	})
	if log := n.logged(); ended && !strings.Contains(log, "is no SQLite database") && !strings.Contains(log, "roll back the unfinished transaction") {
		n.t.Errorf("got exit code %d, want the reason\n%s", n.exitCode(), log)
	}
	return ended
}

// goOn follows the primary, and its next commits, with a reader on the replica.
func (r *recording) goOn(t *testing.T, primary, replica *node) {
	t.Helper()
	if _, err := tryCommand("sql", primary.db, "SELECT * FROM counter"); err != nil && r.w.sound {
		shell(t, primary.db, "BEGIN;"+auditSchema+"COMMIT;") // it was not there yet
	}
	awaitSame(t, primary, replica)
	var reader *background
	if r.w.sound {
		reader = startBackground(t, "survey", replica.db)
		reader.next()
	}
	for range 2 {
		if out, err := tryShell(primary.db, auditStep); err != nil && r.w.sound {
			t.Errorf("write after the power failure: %v: %s", err, out)
		}
	}
	awaitSame(t, primary, replica)
	if reader != nil {
		reader.finish()
	}
}

// crash makes what a disk has after n operations.
func crash(t *testing.T, d *disk, n int, loss *crashfs.Loss) *crashfs.Image {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	im, err := d.fs.After(n, dir)
	if loss != nil {
		if err = errors.Join(err, os.RemoveAll(dir)); err == nil {
			im, err = d.fs.PowerLoss(n, *loss, dir)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// state is a database as SQLite reads it.
type state struct {
	pages     []byte
	integrity string // what integrity_check says, or the error
	counter   int64  // -1: it cannot be read
}

func (s state) String() string {
	return fmt.Sprintf("%d bytes, counter %d, integrity %.100q", len(s.pages), s.counter, s.integrity)
}

func readState(t *testing.T, db string) (s state) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pages")
	out, err := tryCommand("dump", db, file)
	if s.integrity = out; err == nil {
		s.pages, err = os.ReadFile(file)
	}
	if err != nil && !strings.HasPrefix(out, "Error:") {
		t.Fatalf("%v: %s", err, out)
	}
	s.counter = -1
	if out, err := tryCommand("sql", db, "SELECT n FROM counter"); err == nil {
		s.counter, _ = strconv.ParseInt(out, 10, 64)
	}
	return s
}

// withoutWeir is what SQLite makes of an image by itself.
func (r *recording) withoutWeir(t *testing.T, im *crashfs.Image) state {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(r.mount(t, im).dir)); err != nil {
		t.Fatal(err)
	}
	return readState(t, filepath.Join(dir, "db"))
}

// checkPromises checks that SQLite has kept its promises, with weir below it until the power failed.
func (r *recording) checkPromises(t *testing.T, s state, at int) {
	t.Helper()
	if r.w.sound && s.integrity != "ok" {
		t.Errorf("the database is damaged: %s", s.integrity)
	}
	acked := r.acked(at)
	if r.w.durable && acked > 0 && s.counter < acked {
		t.Errorf("the counter is %d, want at least %d", s.counter, acked)
	}
	if r.w.sound && s.counter > acked+1 {
		t.Errorf("the counter is %d, want at most %d", s.counter, acked+1)
	}
}

// awaitSame waits until the replica has the primary's pages, whatever is in them.
func awaitSame(t *testing.T, primary, replica *node) {
	t.Helper()
	want := readState(t, primary.db)
	replica.eventually("the primary's state", func() error {
		if _, err := os.Stat(replica.db); err != nil && len(want.pages) > 0 {
			return err
		}
		got := readState(t, replica.db)
		if bytes.Equal(got.pages, want.pages) {
			return nil
		}
		_, err := comparePages(want.pages, got.pages)
		return err
	})
}
