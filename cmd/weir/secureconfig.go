package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"weir/fuse"
	"weir/stream"
)

// checkFiles refuses certificates and tokens in a directory that is mounted over: they are read again while it is.
func (c *config) checkFiles() error {
	files := tokenFiles(c.Tokens)
	if c.TLS != nil {
		files = append(files, c.TLS.paths()...)
	}
	for _, db := range c.DBs {
		if u := db.Upstream; u != nil {
			files = append(append(files, u.TLS.paths()...), u.Token.files()...)
		}
	}
	var errs []error
	for _, db := range c.DBs {
		dir := db.directory()
		for _, f := range files {
			if strings.HasPrefix(f, dir+"/") {
				errs = append(errs, db.at.errorf("%s is in %s, over which weir mounts for %s: move it elsewhere, as into /etc/weir", f, dir, db))
			}
		}
	}
	return errors.Join(errs...)
}

// warnReadable names the keys and tokens that every user can read.
func (c *config) warnReadable(log *slog.Logger) {
	files := tokenFiles(c.Tokens)
	if c.TLS != nil {
		files = append(files, c.TLS.Key)
	}
	for _, db := range c.DBs {
		if u := db.Upstream; u != nil {
			files = append(append(files, u.TLS.Key), u.Token.files()...)
		}
	}
	slices.Sort(files)
	for _, f := range slices.Compact(files) {
		if fi, err := os.Stat(f); err == nil && fi.Mode().Perm()&0o004 != 0 {
			log.Warn("every user can read this secret", "file", f, "hint", "chmod o-r "+f)
		}
	}
}

// credentials reads what a replica shows to its upstream, and by what it knows it.
func (u *upstreamConfig) credentials(log *slog.Logger) (c stream.Credentials, err error) {
	if c.Token, err = u.Token.toShow(log); err != nil {
		return c, err
	}
	if u.TLS != (tlsFiles{}) {
		c.TLS, err = clientTLS(u.TLS, log)
	}
	return c, err
}

// fuseUpstream is u for package fuse.
func fuseUpstream(u *upstreamConfig, db string, log *slog.Logger) (*fuse.Upstream, error) {
	log = log.With("db", db, "upstream", u.URL)
	creds, err := u.credentials(log)
	if err != nil {
		return nil, fmt.Errorf("%s: upstream: %w", db, err)
	}
	if at, err := url.Parse(u.URL); err == nil && u.Token != (tokenSource{}) && at.Scheme == "http" && !isLoopback(at.Hostname()) {
		log.Warn("the token goes to the upstream unencrypted", "hint", "set tls there, and https:// in upstream.url")
	}
	return &fuse.Upstream{URL: u.URL, Path: u.Path, Credentials: creds}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// warnExposed says once what an address that others reach lacks.
func warnExposed(conf *config, addr net.Addr, log *slog.Logger) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return
	}
	secured := conf.TLS != nil
	known := len(conf.Tokens) > 0 || secured && conf.TLS.CA != ""
	log = log.With("addr", addr.String())
	switch {
	case !secured && !known:
		log.Warn("anyone who reaches this address can read the databases, and anyone on the way, too",
			"hint", "add tls (-tls-cert, -tls-key) and tokens (-token-file), or listen on 127.0.0.1")
	case !secured:
		log.Warn("tokens and databases pass unencrypted at this address", "hint", "add tls (-tls-cert, -tls-key), or listen on 127.0.0.1")
	case !known:
		log.Warn("anyone who reaches this address can read the databases", "hint", "add tokens (-token-file), or tls.client-ca (-tls-client-ca)")
	}
}
