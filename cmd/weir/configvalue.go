package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Values of a configuration, and of flags, one at a time: what is wrong with one says what to write instead.

// checkAddr tests a listen address such as ":9090" or "10.0.0.1:9090".
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("addr %q is not HOST:PORT: write \":9090\" for every interface, or \"127.0.0.1:9090\"", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("addr %q has port %q: give a number from 0 to 65535", addr, port)
	}
	return nil
}

// cleanPath makes a database's path absolute and refuses one that can't be a database.
func cleanPath(path string) (string, error) {
	if path == "" {
		return "", errors.New("path is empty: give the database file, as in /data/db")
	}
	if strings.HasSuffix(path, "/") {
		return "", fmt.Errorf("path %q names a directory: give the database file in it, as in %sdb", path, path)
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("path %q: %w: write the path in full", path, err)
		}
		path = filepath.Join(home, rest)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("path %q: %w", path, err)
	}
	if filepath.Dir(abs) == "/" {
		return "", fmt.Errorf("path %q is in the root directory, over which weir can't mount: move the database into a directory of its own, as in /data/db", path)
	}
	return abs, checkName(filepath.Base(abs))
}

// cleanDir makes a directory's path absolute and refuses one that can't be mounted over.
func cleanDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("dir is empty: give the directory of the databases, as in /data")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("dir %q: %w", dir, err)
	}
	if abs == "/" {
		return "", errors.New("dir is the root directory, over which weir can't mount: give a directory below it")
	}
	return abs, nil
}

// checkMatch tests a pattern of names.
func checkMatch(pattern string) error {
	switch _, err := filepath.Match(pattern, ""); {
	case pattern == "":
		return errors.New("pattern is empty: give what the databases' names match, as in \"*.db\"")
	case strings.Contains(pattern, "/"):
		return fmt.Errorf("pattern %q has a slash: it is matched with names of files; for directories below write \"recursive: true\"", pattern)
	case err != nil:
		return fmt.Errorf("pattern %q: %w: see https://pkg.go.dev/path/filepath#Match", pattern, err)
	}
	return nil
}

// checkName refuses names that SQLite and weir give to other files.
func checkName(name string) error {
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && base != "" {
			return fmt.Errorf("path ends in %s: that is SQLite's own file, give the database: %s", suffix, base)
		}
	}
	if name == ".weir" {
		return errors.New("path ends in .weir: that is where weir keeps its own files, give the database")
	}
	return nil
}

// cleanURL checks an upstream's URL.
func cleanURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("url %q can't be read (%w): write it as in http://primary:9090", s, err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("url %q is neither http nor https: write it as in http://primary:9090", s)
	case u.Hostname() == "":
		return "", fmt.Errorf("url %q has no host: write it as in http://primary:9090", s)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("url %q has a query or fragment: give only the host and port, as in http://primary:9090", s)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// cleanUpstreamPath checks the path that the upstream knows the database by.
func cleanUpstreamPath(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("path %q is not absolute: give the whole path on the upstream's host, as in /data/db", path)
	}
	return filepath.Clean(path), nil
}
