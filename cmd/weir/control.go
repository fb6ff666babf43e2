package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"weir/fuse"
)

// A daemon can be asked on its own machine without an addr, by an abstract unix socket (unix(7)) for each directory that
// it has mounted. It is HTTP as on addr, and answers root, the user that weir runs as, and who owns the directory or one of
// its databases. Such a socket leaves no file behind, and is there for all containers of a pod, which share a network.
const controlPrefix = "@weir:"

// controlNameMax is how long the name of a socket may be; the kernel takes 108 bytes.
const controlNameMax = 100

// controlName is the socket of the daemon that has mounted dir, as package net writes abstract ones.
func controlName(dir string) string {
	if name := controlPrefix + dir; len(name) <= controlNameMax {
		return name
	}
	return fmt.Sprintf("%s%x", controlPrefix, sha256.Sum256([]byte(dir)))
}

// control answers on the sockets of a daemon.
type control struct {
	http    *http.Server
	log     *slog.Logger
	serving sync.WaitGroup
}

// newControl has handler answer.
func newControl(handler http.Handler, log *slog.Logger) *control {
	c := &control{http: newHTTP(handler, log), log: log}
	c.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ok, _ := r.Context().Value(admittedKey{}).(bool); !ok {
			http.Error(w, "weir answers root here, its own user, and the owner of the directory or of one of its databases", http.StatusForbidden)
			return
		}
		handler.ServeHTTP(w, r)
	})
	return c
}

// admittedKey is where a connection's context says whether its user may ask.
type admittedKey struct{}

// start listens for the directories of m. A name that somebody else has costs only this way to ask.
func (c *control) start(m *fuse.Mounts) {
	owners := make(map[string]fuse.Directory) // by socket
	for _, dir := range m.Directories() {
		owners[controlName(dir.Path)], owners[controlName(dir.Target)] = dir, dir
	}
	c.http.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, admittedKey{}, admitted(conn, owners[conn.LocalAddr().String()]))
	}
	for name := range owners {
		l, err := net.Listen("unix", name)
		if err != nil {
			c.log.Warn("weir can't be asked by its socket, only by addr", "socket", name, "err", err)
			continue
		}
		c.serving.Go(func() {
			if err := c.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				c.log.Error("weir can't be asked by its socket any more", "socket", name, "err", err)
			}
		})
	}
}

// close ends what is being answered.
func (c *control) close() {
	c.http.Close()
	c.serving.Wait()
}

// admitted tells whether the process at the other end of conn may ask.
func admitted(conn net.Conn, dir fuse.Directory) bool {
	uid, err := peer(conn)
	return err == nil && (uid == 0 || uid == uint32(os.Geteuid()) || slices.Contains(dir.Owners(), uid))
}

// peer is the user of the process at the other end of conn.
func peer(conn net.Conn) (uid uint32, err error) {
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%s is no unix socket", conn.RemoteAddr())
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(ctlErr, err); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
