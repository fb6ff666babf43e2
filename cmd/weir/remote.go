package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
)

// What commands show to a weir that they ask over the network comes from the environment, for all of them alike.
const (
	tokenVar = "WEIR_TOKEN_FILE"
	caVar    = "WEIR_TLS_CA"
	certVar  = "WEIR_TLS_CERT"
	keyVar   = "WEIR_TLS_KEY"
)

// remoteHelp is for the help texts of these commands.
const remoteHelp = `For a weir elsewhere that is served with TLS or tokens, write https://, and set $WEIR_TOKEN_FILE, the file of a token,
$WEIR_TLS_CA, who must have signed the certificate there, and $WEIR_TLS_CERT and $WEIR_TLS_KEY, a certificate to show.
`

// remote returns a client for a weir elsewhere.
func remote(base string) (*daemonClient, error) {
	client, err := remoteClient()
	return &daemonClient{http: client, base: base, at: strings.TrimPrefix(base, "http://")}, err
}

func remoteClient() (*http.Client, error) {
	files := tlsFiles{Cert: os.Getenv(certVar), Key: os.Getenv(keyVar), CA: os.Getenv(caVar)}
	if (files.Cert == "") != (files.Key == "") {
		return nil, fmt.Errorf("only one of $%s and $%s is set: set both", certVar, keyVar)
	}
	conf, err := files.forClient(slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = conf
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	if os.Getenv(tokenVar) == "" {
		return &http.Client{Transport: transport}, nil
	}
	tokens, err := tokenSource{File: os.Getenv(tokenVar)}.read()
	if err != nil {
		return nil, fmt.Errorf("$%s: %w", tokenVar, err)
	}
	return &http.Client{
		Transport:     bearer{transport, secret(tokens[0])},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token stays
	}, nil
}

// bearer shows a token with each request.
type bearer struct {
	*http.Transport
	token secret
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b.token))
	return b.Transport.RoundTrip(r)
}

// remoteHint adds to an error of a request to a weir elsewhere what to set.
func remoteHint(err error) error {
	var unverified *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unverified):
		return hint(err, "set $%s to the certificate of who signed the one there", caVar)
	case errors.Is(err, http.ErrSchemeMismatch):
		return hint(err, "write http://: it is served without TLS")
	case strings.Contains(err.Error(), "remote error: tls: ") && strings.Contains(err.Error(), "certificate"):
		return hint(err, "set $%s and $%s to a certificate that is signed by the tls.client-ca there", certVar, keyVar)
	case strings.Contains(err.Error(), "HTTP request to an HTTPS server"):
		return hint(err, "write https://: it is served with TLS")
	}
	return err
}
