package main

import (
	"flag"
	"strings"
)

// secureFlags stand for tls, tokens and their like where the command line is the configuration.
type secureFlags struct {
	cert, key, ca, clientCA, tokenFile string
}

// secureHelp describes the flags.
const secureHelp = `  -tls-cert FILE     certificate to show to replicas, and to the upstream; PEM, read again when it changes
  -tls-key FILE      its key
  -tls-client-ca FILE  replicas must show a certificate that is signed by this one
  -tls-ca FILE       the upstream's certificate must be signed by this one (default: by one that the system trusts)
  -token-file FILE   the token that replicas must show, and that is shown to the upstream; read again when it changes
`

func (s *secureFlags) flags(set *flag.FlagSet) {
	set.StringVar(&s.cert, "tls-cert", "", "")
	set.StringVar(&s.key, "tls-key", "", "")
	set.StringVar(&s.ca, "tls-ca", "", "")
	set.StringVar(&s.clientCA, "tls-client-ca", "", "")
	set.StringVar(&s.tokenFile, "token-file", "", "")
}

// check makes the files' names absolute.
func (s *secureFlags) check() error {
	for _, file := range []*string{&s.cert, &s.key, &s.ca, &s.clientCA, &s.tokenFile} {
		if *file == "" {
			continue
		}
		var err error
		if *file, err = cleanFile(*file); err != nil {
			return usageError{err}
		}
	}
	switch {
	case (s.cert == "") != (s.key == ""):
		return usagef("-tls-cert and -tls-key belong together: give both")
	case s.clientCA != "" && s.cert == "":
		return usagef("-tls-client-ca needs -tls-cert and -tls-key")
	}
	return nil
}

// checkMount tests the flags together with those that say what is mounted.
func (s *secureFlags) checkMount(db, upstream string) error {
	switch {
	case *s != secureFlags{} && db == "":
		return usagef("-tls-... and -token-file go with a database on the command line: in a configuration write tls, tokens, upstream.tls and upstream.token-file")
	case s.ca != "" && !strings.HasPrefix(upstream, "https:"):
		return usagef("-tls-ca goes with an -upstream that begins with https://; for replicas' certificates there is -tls-client-ca")
	}
	return s.check()
}

// server is what the flags mean for what is served.
func (s *secureFlags) server() (tls *tlsFiles, tokens []tokenConfig) {
	if s.cert != "" {
		tls = &tlsFiles{Cert: s.cert, Key: s.key, CA: s.clientCA}
	}
	if s.tokenFile != "" {
		tokens = []tokenConfig{{Name: "-token-file", Token: tokenSource{File: s.tokenFile}}}
	}
	return tls, tokens
}

// upstream is what the flags mean for the upstream at url.
func (s *secureFlags) upstream(url string) (tls tlsFiles, token tokenSource) {
	if strings.HasPrefix(url, "https:") {
		tls = tlsFiles{Cert: s.cert, Key: s.key, CA: s.ca}
	}
	return tls, tokenSource{File: s.tokenFile}
}
