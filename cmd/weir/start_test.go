package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var belowRounds = flag.Int("below.rounds", 3, "how often TestNobodyGetsBelow kills both nodes")

// Weir is killed and started again while apps open the database as fast as they can. None ever gets the file that is
// below the mount: dead or alive, it is there all the time.
func TestNobodyGetsBelow(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	var apps []*background
	for _, n := range []*node{primary, replica} {
		app := startBackground(t, "peek", n.db, strconv.FormatUint(device(t, filepath.Dir(n.dir)), 10))
		app.next()
		apps = append(apps, app)
	}
	for range *belowRounds {
		for _, n := range []*node{primary, replica} {
			n.kill()
			n.start()
		}
		shell(t, primary.db, auditStep)
		awaitEqual(t, primary, replica)
	}
	for i, app := range apps {
		if rest := app.finish(); len(rest) != 1 || strings.Contains(rest[0], "below") {
			t.Errorf("app %d printed %q, want how often it opened the database, and nothing else", i, rest)
		}
	}
	for _, n := range []*node{replica, primary} {
		n.stop()
		if _, err := os.Stat(n.db); err != nil {
			t.Errorf("after the end of %s: %v", n.name, err)
		}
	}
}

// device is the number of the file system that path is on.
func device(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Dev
}

// childPeek opens a file again and again until standard input ends, and says so when it was on the device below.
func childPeek(path, below string) error {
	dev, err := strconv.ParseUint(below, 10, 64)
	if err != nil {
		return err
	}
	ctx := untilEOF(context.Background(), os.Stdin)
	var opened, failed int
	for ctx.Err() == nil {
		var st unix.Stat_t
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			failed++
			continue
		}
		err = unix.Fstat(fd, &st)
		unix.Close(fd)
		if err == nil && st.Dev == dev {
			fmt.Println("got below")
		}
		if opened++; opened == 1 {
			fmt.Println("opened")
		}
	}
	fmt.Println(opened, "times,", failed, "failed")
	return nil
}

// A start that fails leaves things as they were: no mount where there was none, and the dead one where there was one, so
// that nobody gets below it. A later start goes well.
func TestFailedStart(t *testing.T) {
	n := newNode(t, "primary")
	other := newNode(t, "other")
	n.configure("addr: %q\ndbs:\n  - path: %s\n  - path: %s\n", n.addr, n.db, other.db)
	for _, db := range []string{n.db, other.db} {
		shell(t, db, auditSchema+auditStep)
	}
	n.failToStart(other.db, "it opened the database before weir was mounted")
	for _, dir := range []string{n.dir, other.dir} {
		if isMounted(dir) {
			t.Errorf("%s is mounted after a failed start", dir)
		}
	}
	n.start()
	file := hold(t, n.db) // of the directory that is looked at last
	n.kill()
	n.refuse("it still has files open on the mount of a weir that died")
	for _, db := range []string{n.db, other.db} {
		if f, err := os.Open(db); !errors.Is(err, syscall.ENOTCONN) {
			f.Close()
			t.Errorf("opening %s after a failed start gives %v, want ENOTCONN as before", db, err)
		}
	}
	file.Close()
	n.start()
	for _, db := range []string{n.db, other.db} {
		if got := shell(t, db, auditStep+"SELECT n FROM counter"); got != "2" {
			t.Errorf("%s: got counter %s, want 2", db, got)
		}
	}
	n.stop()
}

// A directory in another one is mounted in it. Killed, they are replaced, also where there were fewer, or will be.
func TestNestedStart(t *testing.T) {
	n := newNode(t, "outer")
	inner := filepath.Join(n.dir, "sub", "db")
	if err := os.Mkdir(filepath.Dir(inner), 0o755); err != nil {
		t.Fatal(err)
	}
	both := []string{n.db, inner}
	for i, dbs := range [][]string{{inner}, both, both, {n.db}, both} {
		var list strings.Builder
		for _, db := range dbs {
			fmt.Fprintf(&list, "  - path: %s\n", db)
		}
		n.configure("addr: %q\ndbs:\n%s", n.addr, list.String())
		n.start()
		for _, db := range dbs {
			shell(t, db, "CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1)")
			if device(t, db) == device(t, filepath.Dir(n.dir)) {
				t.Errorf("start %d, of %q: %s is not mounted", i, dbs, db)
			}
		}
		n.kill()
	}
	n.start()
	n.stop()
	for _, db := range both {
		if got := shell(t, db, "SELECT count(*) FROM t"); got != "4" {
			t.Errorf("%s: got %s rows, want 4", db, got)
		}
	}
}

// failToStart starts the node while the test has a file open that weir will not have open.
func (n *node) failToStart(held, why string) {
	n.t.Helper()
	defer hold(n.t, held).Close()
	n.refuse(why)
}

func hold(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// refuse starts the node, which must end by itself and say why.
func (n *node) refuse(why string) {
	n.t.Helper()
	n.spawn(weirBinary, "mount", "-config", n.conf)
	if code := n.exitCode(); code == 0 || !strings.Contains(n.logged(), why) {
		n.t.Fatalf("%s: got exit code %d, want an error that says %q\n%s", n.name, code, why, n.logged())
	}
}

// Weir starts while the test has a directory open on a FUSE file system whose daemon answers nothing.
func TestStartBesideHungMount(t *testing.T) {
	primary := newPrimary(t)
	if err := os.WriteFile(primary.db, nil, 0o644); err != nil { // so that weir looks who has it open
		t.Fatal(err)
	}
	hangFileSystem(t)
	primary.start()
	shell(t, primary.db, auditSchema+auditStep)
	primary.stop()
}

// hangFileSystem has the test process hold the root directory of a FUSE file system that answers only the kernel's
// greeting. It is mounted nowhere, so nobody meets it but through this process's descriptor.
func hangFileSystem(t *testing.T) {
	t.Helper()
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dev) }) // whoever waits gets an error
	root, err := mountDevice(dev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(root) })
	if err := greet(dev); err != nil {
		t.Fatal(err)
	}
}

func mountDevice(dev int) (root int, err error) {
	ctx, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen: %w", err)
	}
	defer unix.Close(ctx)
	for _, kv := range [][2]string{{"source", "hung"}, {"fd", fmt.Sprint(dev)}, {"rootmode", "40000"}, {"user_id", "0"}, {"group_id", "0"}} {
		if err := unix.FsconfigSetString(ctx, kv[0], kv[1]); err != nil {
			return -1, fmt.Errorf("fsconfig %s: %w", kv[0], err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("fsconfig: %w", err)
	}
	return unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, 0)
}

// greet answers FUSE_INIT, the first request.
func greet(dev int) error {
	request := make([]byte, 1<<17)
	if _, err := unix.Read(dev, request); err != nil {
		return fmt.Errorf("read FUSE_INIT: %w", err)
	}
	// A header of length, error and the request's number, then struct fuse_init_out: the version, and no features.
	reply := make([]byte, 16+64)
	binary.NativeEndian.PutUint32(reply, uint32(len(reply)))
	copy(reply[8:], request[8:16])
	binary.NativeEndian.PutUint32(reply[16:], 7)
	binary.NativeEndian.PutUint32(reply[20:], 31)
	_, err := unix.Write(dev, reply)
	return err
}
