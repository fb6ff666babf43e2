package stream

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
)

// Statuses returns the state of the databases that r may read, by path, and then that of directories.
func (s *Server) Statuses(r *http.Request) []Status {
	dbs := s.allowed(r)
	all := make([]Status, len(dbs))
	for i, d := range dbs {
		all[i] = s.statusOf(d)
	}
	return append(all, s.directoryStatuses(r)...)
}

func (s *Server) statusOf(d *served) Status {
	st, of := d.db.Status(), s.followersOf(d)
	st.Path, st.At, st.Distance = d.path, of.At, len(d.db.Via())
	st.LogBytes, st.LogFirst = d.db.Log().Extent()
	st.Followers, st.Streams, st.Gone = len(of.Streams), of.Streams, of.Gone
	return st
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	b, err := json.MarshalIndent(s.Statuses(r), "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(b, '\n'))
}

func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	all := slices.DeleteFunc(s.Statuses(r), func(st Status) bool { return st.Role == RoleDirectory })
	io.WriteString(w, "weir: live read replication for SQLite\n\nDatabases served here:\n")
	for _, st := range all {
		fmt.Fprintf(w, "  %s  %s at %s, %d pages of %d bytes, followers: %d\n", st.Path, st.Role, st.Pos, st.Size, st.PageSize, st.Followers)
	}
	path := "/data/db"
	if len(all) > 0 {
		path = all[0].Path
	} else {
		io.WriteString(w, "  none yet\n")
	}
	stream := "/stream?path=" + url.QueryEscape(path)
	fmt.Fprintf(w, `
GET  /status                                     their state, as JSON
GET  /list?dir=DIR                               the databases below a directory, as JSON
GET  /wait?path=PATH&txid=TXID&timeout=10s       answers once the database has that transaction
GET  /wait?path=PATH&now=1&timeout=10s           answers once it has what the primary has now
GET  /verify?path=PATH                           compares a replica's pages with its upstream's; JSON lines
GET  /stream?path=PATH                           a snapshot, then each transaction as it commits
GET  /stream?path=PATH&id=ID&pos=TXID/CHECKSUM   the transactions after that position
GET  /stream?path=PATH&pos=first                 all transactions that the log has
POST /stream?path=PATH&id=ID                     page checksums up; the pages that differ, then transactions down
POST /stream/ack                                 how far a replica is, for /status

Follow one with:
  curl -sN 'http://%s%s' | hexdump -C
`, r.Host, stream)
}
