package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"weir/stream"
	"weir/stream/backup"
)

// sourceHelp describes DB and URL in help texts.
const sourceHelp = `DB is the path of a database that weir has mounted here, URL that of any weir with the database's path after it.
` + remoteHelp

// source is a database that a weir serves.
type source struct {
	*daemonClient
	path string
}

func (s source) backup() backup.Source {
	return backup.Source{URL: s.base, Path: s.path, Client: s.http}
}

// findSource finds what DB or URL on a command line means: the path of a database that is mounted on this machine,
// http://HOST:PORT/PATH/OF/DB, or http://HOST:PORT where only one database is served.
func findSource(ctx context.Context, arg string) (src source, err error) {
	if !strings.Contains(arg, "://") {
		if src.path, err = cleanPath(arg); err != nil {
			return src, usageError{err}
		}
		src.daemonClient, err = directoryClient(filepath.Dir(src.path))
		return src, err
	}
	base, path, err := splitURL(arg)
	if err != nil {
		return src, usageError{err}
	}
	src.path = path
	if src.daemonClient, err = remote(base); err != nil {
		return src, err
	}
	if path == "" {
		src.path, err = src.onlyDatabase(ctx)
	}
	return src, err
}

// splitURL splits http://HOST:PORT/PATH into what a weir's URL is and a database's path.
func splitURL(s string) (base, path string, err error) {
	if s, err = cleanURL(s); err != nil {
		return "", "", err
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", "", err
	}
	if u.Path != "" {
		path = filepath.Clean(u.Path)
	}
	u.Path, u.RawPath = "", ""
	return u.String(), path, nil
}

// onlyDatabase is the path of the one database that a weir serves.
func (c *daemonClient) onlyDatabase(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var all []stream.Status
	if err := c.getJSON(ctx, "/status", nil, &all); err != nil {
		return "", err
	}
	all = slices.DeleteFunc(all, func(st stream.Status) bool { return st.Role == stream.RoleDirectory })
	if len(all) == 1 {
		return all[0].Path, nil
	}
	var urls []string
	for _, st := range all {
		urls = append(urls, c.base+st.Path)
	}
	if len(urls) == 0 {
		return "", fmt.Errorf("weir at %s serves no database", c.at)
	}
	return "", usagef("weir at %s serves several databases: give one of %s", c.at, strings.Join(urls, ", "))
}

// sourceHint adds to an error what to do about a source or an output.
func sourceHint(err error) error {
	if err == nil {
		return nil
	}
	switch err = remoteHint(err); {
	case errors.Is(err, errNoDaemon):
		return hint(err, "start it: weir mount; or give a URL, as in http://HOST:9090/data/db")
	case errors.Is(err, syscall.ECONNREFUSED):
		return hint(err, "start weir there, with an addr to serve at")
	case errors.Is(err, backup.ErrExists):
		return hint(err, "choose another file, or replace it with -force")
	case errors.Is(err, backup.ErrCompanion):
		return hint(err, "choose another file: SQLite would take what is in there for a part of this one")
	case errors.Is(err, fs.ErrPermission):
		return hint(err, "run weir as the user who may")
	}
	return err
}
