package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// serverTLS reads tls.
func (r *configReader) serverTLS(n *yaml.Node) *tlsFiles {
	f := r.tlsFiles(n, "tls", "client-ca")
	if f.Cert == "" && len(r.errs) == 0 {
		r.errorf(n, "tls has no cert: add \"cert: FILE\" and \"key: FILE\", the certificate to show to replicas and its key, in PEM")
	}
	return f
}

// tlsFiles reads the files of one side; ca is the name of the key for authorities.
func (r *configReader) tlsFiles(n *yaml.Node, name, ca string) *tlsFiles {
	f := new(tlsFiles)
	before := len(r.errs)
	file := func(to *string, key string) func(*yaml.Node) {
		return func(n *yaml.Node) { *to = r.text(n, key, cleanFile) }
	}
	r.mapping(n, name, name, map[string]func(*yaml.Node){
		"cert": file(&f.Cert, "cert"), "key": file(&f.Key, "key"), ca: file(&f.CA, ca),
	})
	if len(r.errs) == before && (f.Cert == "") != (f.Key == "") {
		r.errorf(n, "%s has only one of cert and key: add the other", name)
	}
	return f
}

func (r *configReader) tokens(n *yaml.Node) (tokens []tokenConfig) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.errorf(n, "tokens is %s: write a list, with \"- name: NAME\" and \"token-file: FILE\" for each", kind(n))
		return nil
	}
	names := make(map[string]position)
	for i, item := range n.Content {
		t := r.token(item, fmt.Sprintf("tokens[%d]", i))
		if first, ok := names[t.Name]; ok && t.Name != "" {
			r.errorf(item, "the token %s is listed twice (first at %s): give each a name of its own", t.Name, first)
		}
		names[t.Name] = t.at
		tokens = append(tokens, t)
	}
	return tokens
}

// token reads one entry of tokens; name says which.
func (r *configReader) token(n *yaml.Node, name string) tokenConfig {
	t := tokenConfig{at: r.at(n)}
	before := len(r.errs)
	keys := r.tokenKeys(&t.Token)
	keys["name"] = func(n *yaml.Node) { t.Name = r.text(n, "name", notEmpty("name")) }
	keys["dbs"] = func(n *yaml.Node) { t.DBs = r.patterns(n) }
	r.mapping(n, "an entry of tokens", name, keys)
	if len(r.errs) > before {
		return t
	}
	switch {
	case t.Name == "":
		r.errorf(n, "%s has no name: add one, for the log", name)
	case t.Token == tokenSource{}:
		r.errorf(n, "%s has no token: add \"token-file: FILE\", or \"token: $VARIABLE\"", name)
	}
	r.onlyOneToken(n, name, t.Token)
	return t
}

func (r *configReader) onlyOneToken(n *yaml.Node, name string, s tokenSource) {
	if s.Text != "" && s.File != "" {
		r.errorf(n, "%s has both token and token-file: keep one", name)
	}
}

func (r *configReader) tokenKeys(to *tokenSource) map[string]func(*yaml.Node) {
	return map[string]func(*yaml.Node){
		"token":      func(n *yaml.Node) { to.Text = r.secret(n) },
		"token-file": func(n *yaml.Node) { to.File = r.text(n, "token-file", cleanFile) },
	}
}

// secret reads a token. What is wrong with it is said without it.
func (r *configReader) secret(n *yaml.Node) secret {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		r.errorf(n, "token is %s: put the token in quotes", kind(n))
		return ""
	}
	text := n.Value
	// Only a variable alone is expanded, so that an error about one shows no part of a token.
	if ref := variable.FindString(text); ref == text && ref != "" {
		var err error
		if text, err = r.expand(text); err != nil {
			r.errorf(n, "%w", err)
			return ""
		}
	}
	if err := checkToken(text); err != nil {
		r.errorf(n, "%w", err)
		return ""
	}
	return secret(text)
}

// patterns reads the dbs of a token.
func (r *configReader) patterns(n *yaml.Node) (patterns []string) {
	n = resolve(n)
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.errorf(n, "dbs is %s: write a list of paths, as in [/data/db, /srv/*.db], or leave it out for all", kind(n))
		return nil
	}
	for _, item := range n.Content {
		patterns = append(patterns, r.text(item, "dbs", same(checkPattern)))
	}
	return patterns
}

func notEmpty(key string) func(string) (string, error) {
	return same(func(s string) error {
		if s == "" {
			return fmt.Errorf("%s is empty", key)
		}
		return nil
	})
}

// cleanFile makes the name of a file absolute.
func cleanFile(name string) (string, error) {
	if name == "" {
		return "", errors.New("the name of a file is empty")
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("file %q: %w", name, err)
	}
	return abs, nil
}
