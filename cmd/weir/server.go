package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"weir/fuse"
	"weir/stream"
)

const (
	// headerTimeout bounds how long a client may take to send its request header.
	headerTimeout = 10 * time.Second
	// maxHeader bounds a request header, in bytes.
	maxHeader = 16 << 10
)

// server serves the stream of a daemon's databases over HTTP.
type server struct {
	listener net.Listener // nil: nothing is served
	log      *slog.Logger
	stream   *stream.Server
	http     *http.Server
	failed   chan error // gets how serving ended
}

// listen takes the address, before anything is mounted. An empty one serves nothing.
func listen(addr string, log *slog.Logger) (*server, error) {
	s := &server{log: log, stream: stream.NewServer(stream.ServerOptions{Logger: log}), failed: make(chan error, 1)}
	s.http = &http.Server{
		Handler:           s.stream,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if addr == "" {
		return s, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, hint(fmt.Errorf("serve the stream: %w", err), "choose another address with -addr, or addr in the configuration")
	}
	s.listener = l
	return s, nil
}

// start serves m's databases.
func (s *server) start(m *fuse.Mounts) {
	if s.listener == nil {
		return
	}
	m.Register(s.stream)
	go func() { s.failed <- s.http.Serve(s.listener) }()
	s.log.Info("serving", "addr", s.listener.Addr().String())
}

// close ends all streams and waits for their handlers.
func (s *server) close() {
	s.stream.Close()
	s.http.Close()
	if s.listener != nil {
		s.listener.Close() // where it was not started
	}
}
