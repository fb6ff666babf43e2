package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"weir/stream"
)

// health answers GET /health: weir serves. It asks no database.
func health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	io.WriteString(w, "ok\n")
}

// readiness is one database's part of the answer to GET /ready.
type readiness struct {
	DB     string `json:"db"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// readyHandler answers GET /ready: 200 where all databases, or the one that ?db= names, may be read: shown, and not further
// behind than ?max-lag=. Otherwise the answer is 503 and says why.
func readyHandler(statuses func(*http.Request) []stream.Status) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		maxLag := defaultMaxLag
		if text := q.Get("max-lag"); text != "" {
			var err error
			if maxLag, err = time.ParseDuration(text); err != nil {
				http.Error(w, fmt.Sprintf("max-lag=%q is no time: write 500ms, 5s or 1m", text), http.StatusBadRequest)
				return
			}
		}
		var all []readiness
		code := http.StatusOK
		for _, s := range statuses(r) {
			if db := q.Get("db"); db != "" && db != s.Path {
				continue
			}
			reason := unready(s, maxLag)
			all = append(all, readiness{s.Path, reason == "", reason})
			if reason != "" {
				code = http.StatusServiceUnavailable
			}
		}
		if len(all) == 0 {
			http.Error(w, "no such database is served here", http.StatusNotFound)
			return
		}
		writeReadiness(w, r, code, all)
	})
}

// unready says why a database should not be read; "" where it may.
func unready(s stream.Status, maxLag time.Duration) string {
	switch {
	case !s.Ready:
		return "not shown yet: " + s.LastError
	case s.Lag > maxLag:
		return fmt.Sprintf("behind by %s, more than %s", short(s.Lag), maxLag)
	}
	return ""
}

// writeReadiness writes JSON for who accepts it, and else text.
func writeReadiness(w http.ResponseWriter, r *http.Request, code int, all []readiness) {
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(all) // an error is the client's
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	for _, a := range all {
		text := "ready"
		if !a.Ready {
			text = "not ready: " + strings.TrimSuffix(a.Reason, ": ")
		}
		fmt.Fprintf(w, "%s: %s\n", a.DB, text)
	}
}
