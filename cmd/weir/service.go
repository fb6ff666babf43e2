package main

import (
	"log/slog"
	"net"
	"os"
	"strings"
)

// serviceManager is systemd, or another that started weir and wants to be told how it is (sd_notify(3)). Without one it is told
// nothing.
type serviceManager struct {
	socket string // its datagram socket, an abstract one where it begins with @; empty: there is none
	log    *slog.Logger
}

// newServiceManager takes the socket from the environment: what weir starts is not to speak for it.
func newServiceManager(log *slog.Logger) *serviceManager {
	m := &serviceManager{socket: os.Getenv("NOTIFY_SOCKET"), log: log}
	os.Unsetenv("NOTIFY_SOCKET")
	return m
}

// tell sends states, as in READY=1. That it can't is no reason to end: the manager finds that out by itself.
func (m *serviceManager) tell(states ...string) {
	if m.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err == nil {
		defer conn.Close()
		_, err = conn.Write([]byte(strings.Join(states, "\n")))
	}
	if err != nil {
		m.log.Warn("can't tell the service manager", "states", states, "error", err)
	}
}
