package stream

import (
	"log/slog"
	"net/http"
	"time"
)

// ServerOptions tune a Server. The zero value works.
type ServerOptions struct {
	Logger       *slog.Logger  // slog.Default
	Heartbeat    time.Duration // between two heartbeats; 1 second
	WriteTimeout time.Duration // for a follower to take what is written; 30 seconds
}

// A Server serves databases to followers over HTTP.
type Server struct{}

// NewServer returns a server of no databases.
func NewServer(opt ServerOptions) *Server { return &Server{} }

// Add serves a database under the given path.
func (s *Server) Add(path string, db Database) {}

// Remove ends a database's streams and serves it no more.
func (s *Server) Remove(path string) {}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Close ends all streams and waits for their handlers.
func (s *Server) Close() error { return nil }
