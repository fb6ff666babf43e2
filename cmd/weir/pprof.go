package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
)

// profiler serves /debug/pprof on an address of its own: a profile shows much of the process, and takes its time.
type profiler struct{ http *http.Server }

// startProfiler serves on addr; "" serves nothing.
func startProfiler(addr string, log *slog.Logger) (*profiler, error) {
	if addr == "" {
		return &profiler{}, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, hint(fmt.Errorf("serve profiles: %w", err), "choose another address with -pprof, or pprof in the configuration")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	p := &profiler{newHTTP(mux, log)}
	p.http.WriteTimeout = 0 // a profile of any length
	go p.http.Serve(l)      // until it is closed
	log.Info("serving profiles", "addr", l.Addr().String())
	return p, nil
}

func (p *profiler) close() {
	if p.http != nil {
		p.http.Close()
	}
}
