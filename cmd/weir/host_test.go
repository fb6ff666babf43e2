package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// host is a node with mount and network namespaces of its own: it has its own /data, its own port 9090, and knows
// the other by name. So what users type on two machines can be tested word for word on one. The second host shares
// the network of the first.
type host struct {
	*node
	network *host // whose network it is in; nil: its own
}

func newHost(t *testing.T, name string, network *host) *host {
	t.Helper()
	h := &host{newNode(t, name), network}
	h.db = "/data/db"
	return h
}

// run starts weir with args on the host, and waits until it serves at addr, or has mounted where addr is empty.
func (h *host) run(addr string, args ...string) {
	h.t.Helper()
	h.addr = addr
	job := append([]string{"host", strconv.FormatBool(h.network == nil), h.dir, weirBinary}, args...)
	if h.network != nil {
		pid := strconv.Itoa(h.network.cmd.Process.Pid)
		job = append([]string{"nsenter", "-t", pid, "-n", "env", childVar + "=host", os.Args[0]}, job[1:]...)
	}
	h.startWith(job...)
}

// sql runs a query with the sqlite3 shell on the host.
func (h *host) sql(query string) (string, error) {
	pid := strconv.Itoa(h.cmd.Process.Pid)
	return tryCommand("nsenter", "-t", pid, "-m", "-r", "-n", "sqlite3", "-cmd", ".timeout 10000", h.db, query)
}

// becomeHost is the child that becomes weir: args are whether the network is new, the directory that is to be /data,
// and weir's command line.
func becomeHost(args []string) error {
	runtime.LockOSThread() // namespaces belong to threads until exec
	if args[0] == "true" {
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNET), loopbackUp()); err != nil {
			return err
		}
	}
	if err := ownRoot(args[1]); err != nil {
		return err
	}
	return unix.Exec(args[2], args[2:], os.Environ())
}

// ownRoot gives the process a root directory that has all of the real one's entries, and data as /data.
func ownRoot(data string) error {
	root := filepath.Join(filepath.Dir(data), "root")
	hosts := filepath.Join(filepath.Dir(data), "hosts")
	if err := errors.Join(
		os.Mkdir(root, 0o755),
		os.WriteFile(hosts, []byte("127.0.0.1 localhost primary\n"), 0o644),
		unix.Unshare(unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", root, "tmpfs", 0, ""),
	); err != nil {
		return err
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := mirror(e, root); err != nil {
			return err
		}
	}
	if err := os.Mkdir(root+"/data", 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errors.Join(
		unix.Mount(data, root+"/data", "", unix.MS_BIND, ""),
		unix.Mount(hosts, root+"/etc/hosts", "", unix.MS_BIND, ""),
		unix.Chroot(root),
		unix.Chdir("/"),
	)
}

// mirror makes one entry of the root directory appear in root.
func mirror(e os.DirEntry, root string) error {
	from, to := "/"+e.Name(), filepath.Join(root, e.Name())
	switch {
	case e.IsDir():
		return errors.Join(os.Mkdir(to, 0o755), unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""))
	case e.Type() == os.ModeSymlink:
		target, err := os.Readlink(from)
		return errors.Join(err, os.Symlink(target, to))
	}
	return nil // files in the root directory are not needed
}

// loopbackUp starts the loopback interface of a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

// The two configurations of the documentation, word for word,
// but for -addr: the hosts share a network.
func TestDocumentedConfigurations(t *testing.T) {
	t.Setenv("PRIMARY_HOSTNAME", "primary")
	requireHostsReplicate(t, "[::]:9090",
		[]string{"mount", "-config", testFile(t, "primary.yml")},
		[]string{"mount", "-config", testFile(t, "replica.yml"), "-addr", "127.0.0.1:9091"})
}

// The two command lines of the documentation, word for word.
func TestDocumentedArguments(t *testing.T) {
	requireHostsReplicate(t, "[::]:9090",
		[]string{"mount", "/data/db"},
		[]string{"mount", "-upstream", "http://primary:9090", "/data/db"})
}

func testFile(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func requireHostsReplicate(t *testing.T, addr string, primaryArgs, replicaArgs []string) {
	t.Helper()
	primary := newHost(t, "primary", nil)
	replica := newHost(t, "replica", primary)
	primary.run(addr, primaryArgs...)
	replica.run("", replicaArgs...)
	if out, err := primary.sql(auditSchema + auditStep); err != nil {
		t.Fatalf("write on the primary: %v\n%s", err, out)
	}
	replica.eventually("the row", func() error {
		out, err := replica.sql("SELECT n FROM counter")
		if err == nil && out != "1" {
			err = errors.New("got " + out)
		}
		return err
	})
	for _, h := range []*host{replica, primary} {
		h.stop()
	}
}
