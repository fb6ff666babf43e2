package main

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

// The page for people, as it is served: plain files, no build. It asks for /status and holds nothing of the databases, so
// that what is shown is what /status shows to the same reader. Charts are drawn by uPlot 1.6.32 (https://github.com/leeoniya/uPlot),
// whose files are as its npm package has them in dist, with its licence beside them.
//
//go:embed page
var pageFiles embed.FS

// pageTypes are the files' types, by the ends of their names.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// pagePolicy lets the page load its own files and ask this server, and nothing else; scripts can't make markup of texts.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// handlePage adds the page to mux, at / for those who take HTML. Others get index there.
func handlePage(mux *http.ServeMux, index http.Handler) {
	page := servePageFile("index.html")
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			page(w, r)
			return
		}
		index.ServeHTTP(w, r)
	})
	files, err := pageFiles.ReadDir("page")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, f := range files {
		mux.HandleFunc("GET /page/"+f.Name(), servePageFile(f.Name()))
	}
}

// servePageFile serves one file. Browsers keep it, and ask whether it is still the same.
func servePageFile(name string) http.HandlerFunc {
	data, err := pageFiles.ReadFile(path.Join("page", name))
	if err != nil {
		panic(err) // it is embedded
	}
	tag, contentType := fmt.Sprintf(`"%x"`, sha256.Sum256(data)), pageTypes[path.Ext(name)]
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
	}
}
