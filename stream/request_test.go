package stream

import (
	"net/http"
	"net/url"
	"testing"
)

// FuzzRequest reads any query as a follower's.
func FuzzRequest(f *testing.F) {
	log := openTestLog(f, f.TempDir(), LogOptions{})
	f.Add("path=/data/db", false)
	f.Add("path=/data/db&pos=0000000000000002/a7193e7b1bd7ab70&id="+log.ID(), false)
	f.Add("path=%2Fdata%2Fdb&pos=0000000000000000/0000000000000000", true)
	f.Fuzz(func(t *testing.T, query string, post bool) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/stream", RawQuery: query}}
		if post {
			r.Method = http.MethodPost
		}
		req, err := parseRequest(r, log)
		if err != nil {
			return
		}
		if req.delta != post || req.hasPos != (req.pos != Pos{}) {
			t.Errorf("%s %q: got %+v", r.Method, query, req)
		}
		if pos, err := parsePosText(req.pos.String()); err != nil || pos != req.pos {
			t.Errorf("position %s reads as %s, %v", req.pos, pos, err)
		}
	})
}
