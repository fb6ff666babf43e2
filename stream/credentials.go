package stream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Credentials are how a follower knows its upstream, and makes itself known. The zero value trusts the system's
// authorities and shows nothing.
type Credentials struct {
	// TLS returns what https is spoken with; nil, or one that returns nil: the default. It is asked before each session,
	// and no connection outlives a change. What it returned must not be changed.
	TLS func() *tls.Config

	// Token returns what is shown as a bearer token, or "".
	Token func() string
}

func (c Credentials) tls() *tls.Config {
	if c.TLS == nil {
		return nil
	}
	return c.TLS()
}

// authorize has req show the token.
func (c Credentials) authorize(req *http.Request) {
	if c.Token == nil {
		return
	}
	if token := c.Token(); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
}

// httpClient returns the client for the next session.
func (f *following) httpClient() *http.Client {
	if f.opt.Client != nil {
		return f.opt.Client
	}
	conf := f.opt.Credentials.tls()
	if f.client == nil || conf != f.tls {
		f.closeIdle()
		f.client, f.tls = newClient(f.opt.Timeout, conf), conf
	}
	return f.client
}

func (f *following) closeIdle() {
	if f.client != nil {
		f.client.CloseIdleConnections()
	}
}

// stayWithToken follows no redirect with a token, which might go elsewhere, or unencrypted.
func stayWithToken(req *http.Request, via []*http.Request) error {
	switch {
	case via[0].Header.Get("Authorization") != "":
		return http.ErrUseLastResponse
	case len(via) >= 10:
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// turnedAway makes an error of an answer that has to do with credentials, nil of any other. text is the answer's.
func turnedAway(resp *http.Response, text string) error {
	shown := resp.Request.Header.Get("Authorization") != ""
	switch {
	case resp.StatusCode == http.StatusUnauthorized && shown:
		return errors.New("upstream does not know this replica's token: set upstream.token or upstream.token-file (-token-file) to one of its tokens")
	case resp.StatusCode == http.StatusUnauthorized:
		return errors.New("upstream asks for a token: set upstream.token or upstream.token-file (-token-file) to one of its tokens")
	case resp.StatusCode == http.StatusForbidden && shown:
		return fmt.Errorf("this replica's token may not read %s at the upstream: add it to the token's dbs there, or use another token", resp.Request.URL.Query().Get("path"))
	case resp.StatusCode/100 == 3:
		return fmt.Errorf("upstream redirects to %s, where a token is not sent: set upstream.url to where it really is", resp.Header.Get("Location"))
	case resp.StatusCode == http.StatusBadRequest && strings.Contains(text, "HTTP request to an HTTPS server"):
		return errors.New("upstream serves with TLS: write https:// in upstream.url (-upstream)")
	}
	return nil
}

// explainDo says of an error of [http.Client.Do] what to do about it, where it is one of a TLS handshake. From others it takes
// the request's URL: that has positions and names, and the upstream's stands beside it wherever an error is shown.
func explainDo(err error) error {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		name      x509.HostnameError
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("upstream serves without TLS: write http:// in upstream.url (-upstream), or set tls there (-tls-cert, -tls-key)")
	case errors.As(err, &authority):
		return errors.New("upstream's certificate is signed by no authority that is known here: set upstream.tls.ca (-tls-ca) to the one that signed it")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// The error itself has the time of day, and would be logged each time.
		return fmt.Errorf("upstream's certificate is valid from %s to %s: renew it there, or set the clock here",
			invalid.Cert.NotBefore.Format(time.RFC3339), invalid.Cert.NotAfter.Format(time.RFC3339))
	case errors.As(err, &invalid):
		return fmt.Errorf("upstream's certificate is not one for a server that is called by upstream.url: %w", invalid)
	case errors.As(err, &name):
		return fmt.Errorf("upstream's certificate is for another host: write upstream.url (-upstream) as the certificate has it: %w", name)
	case refusesCertificate(err):
		return errors.New("upstream asks for a certificate, and takes none or not this one: set upstream.tls.cert and upstream.tls.key (-tls-cert, -tls-key) to one that is signed by its tls.client-ca")
	}
	if asked, ok := errors.AsType[*url.Error](err); ok {
		return asked.Err
	}
	return err
}

// refusesCertificate tells by the text, for the alert has no type that others can name.
func refusesCertificate(err error) bool {
	_, alert, ok := strings.Cut(err.Error(), "remote error: tls: ")
	return ok && (strings.Contains(alert, "certificate") || alert == "access denied")
}
