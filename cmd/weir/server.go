package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/fuse"
	"weir/stream"
)

const (
	// headerTimeout bounds how long a client may take to send its request header.
	headerTimeout = 10 * time.Second
	// maxHeader bounds a request header, in bytes.
	maxHeader = 16 << 10
	// requestTimeout bounds a request and its answer, but for streams, which set deadlines of their own.
	requestTimeout = 30 * time.Second
	// idleTimeout bounds the time between two requests.
	idleTimeout = 30 * time.Second
	// vanishedTimeout is after how long without an acknowledgement a follower counts as gone, so that its stream ends and
	// the log is not kept for it. There is always something to acknowledge: a heartbeat.
	vanishedTimeout = 15 * time.Second
)

// server serves a daemon's databases over HTTP: the stream, and what is asked of the daemon.
type server struct {
	listener net.Listener // nil: nothing is served but on the machine itself
	log      *slog.Logger
	stream   *stream.Server
	mux      *http.ServeMux // what is not the stream's
	access   *access        // stands before mux on addr
	http     *http.Server
	control  *control
	failed   chan error // gets how serving ended
}

// newHTTP makes a server with limits on what clients may take.
func newHTTP(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeader,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// newServer makes a server that does not listen.
func newServer(conf *config, log *slog.Logger) (*server, error) {
	s := &server{log: log, mux: http.NewServeMux(), failed: make(chan error, 1)}
	var err error
	if s.access, err = newAccess(conf.Tokens, s.mux, log); err != nil {
		return nil, err
	}
	s.stream = stream.NewServer(stream.ServerOptions{Logger: log, Allow: s.access.mayRead, Admit: s.access.admits})
	s.mux.Handle("/", s.stream)
	handlePage(s.mux, s.stream)
	s.mux.Handle("GET /metrics", metricsHandler(s.stream.Statuses))
	s.mux.HandleFunc("GET /health", health)
	s.mux.Handle("GET /ready", readyHandler(s.stream.Statuses))
	s.http, s.control = newHTTP(s.access, log), newControl(s.mux, log)
	s.http.ConnState = newConnLimit().changed
	if conf.TLS == nil {
		return s, nil
	}
	s.http.Protocols = new(http.Protocols)
	s.http.Protocols.SetHTTP1(true)
	if s.access.certs, err = readServerTLS(*conf.TLS, log); err != nil {
		return nil, err
	}
	s.http.TLSConfig = serverTLS(s.access.certs)
	return s, nil
}

// listen takes the address, before anything is mounted. An empty one serves nothing but the control sockets.
func listen(conf *config, log *slog.Logger) (*server, error) {
	s, err := newServer(conf, log)
	if err != nil || conf.Addr == "" {
		return s, err
	}
	l, err := (&net.ListenConfig{Control: noticeVanished}).Listen(context.Background(), "tcp", conf.Addr)
	if err != nil {
		return nil, hint(fmt.Errorf("serve the stream: %w", err), "choose another address with -addr, or addr in the configuration")
	}
	s.listener = l
	warnExposed(conf, l.Addr(), log)
	return s, nil
}

// noticeVanished sets a listening socket up, before it listens. Accepted ones inherit the option (tcp(7)).
func noticeVanished(_, _ string, c syscall.RawConn) error {
	var err error
	ctlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(vanishedTimeout.Milliseconds()))
	})
	return errors.Join(ctlErr, err)
}

// start serves m's databases.
func (s *server) start(m *fuse.Mounts) {
	m.Register(s.stream)
	s.control.start(m)
	if s.listener == nil {
		return
	}
	// First: the server writes its TLS configuration as it begins to serve.
	s.log.Info("serving", "addr", s.listener.Addr().String(), "tls", s.http.TLSConfig != nil)
	go func() { s.failed <- s.serve() }()
}

// serve answers until the server is closed. A TLS handshake must be done within headerTimeout, like a request's header, and
// counts as one of the connection that waits for its request.
func (s *server) serve() error {
	if s.http.TLSConfig != nil {
		return s.http.ServeTLS(s.listener, "", "")
	}
	return s.http.Serve(s.listener)
}

// statuses returns the state of all databases.
func (s *server) statuses() []stream.Status {
	r := new(http.Request).WithContext(context.WithValue(context.Background(), admittedKey{}, true))
	return s.stream.Statuses(r)
}

// close ends all streams and waits for their handlers.
func (s *server) close() {
	s.stream.Close()
	s.http.Close()
	s.control.close()
	if s.listener != nil {
		s.listener.Close() // where it was not started
	}
}
