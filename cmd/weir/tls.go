package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// tlsFiles are the files of one side's TLS, in PEM; "": none.
type tlsFiles struct {
	Cert, Key string // what is shown to the other side
	CA        string // who must have signed what the other side shows
}

func (f tlsFiles) paths() (paths []string) {
	for _, p := range []string{f.Cert, f.Key, f.CA} {
		if p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}

// serverTLS returns what a server speaks TLS with. Files that change are used from the next connection on.
func serverTLS(conf *reread[*tls.Config]) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return conf.get(), nil },
	}
}

// readServerTLS reads a server's files.
func readServerTLS(f tlsFiles, log *slog.Logger) (*reread[*tls.Config], error) {
	return readFiles("certificate", f.paths(), log, func() (*tls.Config, error) { return f.forServer(log) })
}

// stillCertified tells whether the certificate that a client showed when it connected would be taken now.
func stillCertified(conf *tls.Config, state *tls.ConnectionState) bool {
	if conf.ClientAuth == tls.NoClientCert {
		return true
	}
	if state == nil || len(state.PeerCertificates) == 0 {
		return false
	}
	opt := x509.VerifyOptions{Roots: conf.ClientCAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, cert := range state.PeerCertificates[1:] {
		opt.Intermediates.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(opt)
	return err == nil
}

// clientTLS returns the function that a follower asks for what it speaks TLS with.
func clientTLS(f tlsFiles, log *slog.Logger) (func() *tls.Config, error) {
	conf, err := readFiles("certificate for the upstream", f.paths(), log, func() (*tls.Config, error) { return f.forClient(log) })
	if err != nil {
		return nil, err
	}
	return conf.get, nil
}

func (f tlsFiles) forServer(log *slog.Logger) (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// A stream sets deadlines on its connection, which it has for itself: no HTTP/2.
		NextProtos: []string{"http/1.1"},
		// Each connection shows its certificate anew, for who may sign it can change.
		SessionTicketsDisabled: true,
	}
	var err error
	if conf.Certificates, err = f.certificate(log); err != nil || f.CA == "" {
		return conf, err
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	conf.ClientCAs, err = readAuthorities(f.CA)
	return conf, err
}

func (f tlsFiles) forClient(log *slog.Logger) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	if f.CA != "" {
		if conf.RootCAs, err = readAuthorities(f.CA); err != nil {
			return nil, err
		}
	}
	if f.Cert != "" {
		conf.Certificates, err = f.certificate(log)
	}
	return conf, err
}

func (f tlsFiles) certificate(log *slog.Logger) ([]tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	if now := time.Now(); now.After(cert.Leaf.NotAfter) || now.Before(cert.Leaf.NotBefore) {
		log.Warn("the certificate is not valid now: others will refuse it", "file", f.Cert,
			"from", cert.Leaf.NotBefore, "to", cert.Leaf.NotAfter, "hint", "renew it; weir reads it again by itself")
	}
	return []tls.Certificate{cert}, nil
}

func readAuthorities(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read certificate authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("certificate authorities %s: there is no certificate in it, want one or more in PEM", file)
	}
	return pool, nil
}
