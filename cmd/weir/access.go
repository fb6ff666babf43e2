package main

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// openPath is answered without a token: whoever watches over the process asks it. It must name no database.
const openPath = "/health"

// access is the one place that decides which request may read what. It stands before all handlers of a server, and
// turns away whoever has no token, and whoever asks for a database that the token may not read. Handlers that show
// databases nobody asked for by name leave out those for which mayRead is false.
type access struct {
	grants *reread[[]grant]     // nil: all may read all
	certs  *reread[*tls.Config] // the server's; nil: without TLS
	log    *slog.Logger
	next   http.Handler

	mu     sync.Mutex // guards all below
	logged time.Time  // the last one that was turned away
	silent int        // how many were since
}

func newAccess(tokens []tokenConfig, next http.Handler, log *slog.Logger) (*access, error) {
	a := &access{next: next, log: log}
	if len(tokens) == 0 {
		return a, nil
	}
	var err error
	a.grants, err = readFiles("tokens", tokenFiles(tokens), log, func() ([]grant, error) { return readGrants(tokens) })
	return a, err
}

// ServeHTTP implements http.Handler.
func (a *access) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.certified(r) {
		// It is an old connection that is used again. A new one begins with a handshake, which says what is wrong.
		w.Header().Set("Connection", "close")
		http.Error(w, "the certificate that this connection began with is not valid any more: connect again", http.StatusMisdirectedRequest)
		return
	}
	if a.grants == nil || r.URL.Path == openPath {
		a.next.ServeHTTP(w, r)
		return
	}
	g := a.grant(r)
	if g == nil {
		a.turnAway(r, "", "no valid token")
		// A browser asks a person for the second: any name, and the token as password.
		w.Header()["Www-Authenticate"] = []string{`Bearer realm="weir"`, `Basic realm="weir, with a token as password", charset="UTF-8"`}
		http.Error(w, "a token is needed: send it as \"Authorization: Bearer TOKEN\"", http.StatusUnauthorized)
		return
	}
	for _, path := range databasesIn(r) {
		if !g.mayRead(path) {
			a.turnAway(r, g.name, "the token may not read this database")
			http.Error(w, "this token may not read that database", http.StatusForbidden)
			return
		}
	}
	a.next.ServeHTTP(w, r)
}

// mayRead tells whether a request may, now, read the database at path. Who is admitted to a control socket may read all.
func (a *access) mayRead(r *http.Request, path string) bool {
	if admitted, _ := r.Context().Value(admittedKey{}).(bool); admitted {
		return true
	}
	if !a.certified(r) {
		return false
	}
	if a.grants == nil {
		return true
	}
	g := a.grant(r)
	return g != nil && g.mayRead(path)
}

// admits tells whether a request's certificate and token are valid now.
func (a *access) admits(r *http.Request) bool {
	if admitted, _ := r.Context().Value(admittedKey{}).(bool); admitted {
		return true
	}
	return a.certified(r) && (a.grants == nil || a.grant(r) != nil)
}

// certified tells whether the certificate that a request's connection began with would be taken now.
func (a *access) certified(r *http.Request) bool {
	return a.certs == nil || stillCertified(a.certs.get(), r.TLS)
}

// grant returns that of the request's token, nil if it has none that is valid.
func (a *access) grant(r *http.Request) *grant {
	token, ok := tokenOf(r)
	if !ok {
		return nil
	}
	return find(a.grants.get(), token)
}

// tokenOf returns a request's token: a bearer token, or the password that a browser sends.
func tokenOf(r *http.Request) (string, bool) {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token), true
	}
	_, token, ok := r.BasicAuth()
	return token, ok
}

// databasesIn returns the databases that a request names, all of them, whichever one its handler reads.
func databasesIn(r *http.Request) []string {
	q := r.URL.Query()
	return append(q["path"], q["db"]...)
}

// turnAwayEvery is how often it is logged that requests are turned away. Anyone can make them.
const turnAwayEvery = 10 * time.Second

// turnAway logs a request, but not all where there are many.
func (a *access) turnAway(r *http.Request, token, reason string) {
	a.mu.Lock()
	silent := a.silent
	say := time.Since(a.logged) >= turnAwayEvery
	if say {
		a.logged, a.silent = time.Now(), 0
	} else {
		a.silent++
	}
	a.mu.Unlock()
	if say {
		a.log.Warn("turned away", "reason", reason, "from", r.RemoteAddr, "token", token, "path", r.URL.Path, "others-since-the-last-one", silent)
	}
}
