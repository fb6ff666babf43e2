package main

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sys/unix"
)

// maxConns bounds the connections that a server holds. Their descriptors must leave those of the mounts alone.
const maxConns = 1024

// connLimit keeps a server's connections within max. Where there are too many, the one goes that has waited longest
// without a whole request: who opens connections and says nothing then pushes out his own, and not a replica, which asks
// at once. (To accept none beyond max, as netutil.LimitListener does, would have replicas wait for such clients instead.)
// There is no limit for each address: replicas behind one gateway have the same.
type connLimit struct {
	max int

	mu      sync.Mutex                 // guards all below
	conns   map[net.Conn]*list.Element // in waiting, or nil: it has a request
	waiting list.List                  // of net.Conn, the longest first
}

func newConnLimit() *connLimit {
	return &connLimit{max: connsFor(openFiles()), conns: make(map[net.Conn]*list.Element)}
}

// openFiles is how many files the process may have open. The Go runtime has raised it as far as it goes.
func openFiles() uint64 {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 1024 // Linux's default
	}
	return lim.Cur
}

// connsFor is how many connections a process with so many descriptors may have: a quarter, the rest are the mounts'.
func connsFor(files uint64) int { return int(min(files/4, maxConns)) }

// changed is the server's ConnState hook.
func (l *connLimit) changed(c net.Conn, state http.ConnState) {
	if victim := l.note(c, state); victim != nil {
		if t, ok := victim.(*tls.Conn); ok {
			victim = t.NetConn() // without a farewell, for which it might wait
		}
		victim.Close()
	}
}

// note follows a connection's state, and returns one that is to go.
func (l *connLimit) note(c net.Conn, state http.ConnState) (victim net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.conns[c]; e != nil {
		l.waiting.Remove(e)
		l.conns[c] = nil
	}
	switch state {
	case http.StateNew, http.StateIdle:
		l.conns[c] = l.waiting.PushBack(c)
	case http.StateClosed, http.StateHijacked:
		delete(l.conns, c)
	}
	if len(l.conns) <= l.max || l.waiting.Len() == 0 {
		return nil
	}
	victim = l.waiting.Remove(l.waiting.Front()).(net.Conn)
	delete(l.conns, victim)
	return victim
}
