package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// secret is a text that is not printed.
type secret string

const hidden = "(hidden)"

func (secret) String() string       { return hidden }
func (secret) GoString() string     { return hidden }
func (secret) LogValue() slog.Value { return slog.StringValue(hidden) }

func (secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// tokenConfig is one entry of tokens.
type tokenConfig struct {
	Name  string
	Token tokenSource
	DBs   []string // paths and patterns of what it may read; nil: all
	at    position // for errors
}

// tokenSource is where a token is. At most one of the two is set.
type tokenSource struct {
	Text secret
	File string
}

// minToken is how short a token may be, in bytes: one that can't be guessed over a network.
const minToken = 16

// maxTokenFile bounds what is read of a token file, in bytes.
const maxTokenFile = 64 << 10

// tokenText is what may stand behind "Bearer" in a request (RFC 6750, 2.1).
var tokenText = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// checkToken does not tell the token.
func checkToken(token string) error {
	switch {
	case len(token) < minToken:
		return fmt.Errorf("a token of %d characters: give at least %d, as openssl rand -hex 32 prints them", len(token), minToken)
	case !tokenText.MatchString(token):
		return errors.New("a token with other characters than letters, digits and ._~+/-= (the last at its end only): make one with openssl rand -hex 32")
	}
	return nil
}

// read returns the tokens: one, or all lines of the file. None is empty.
func (s tokenSource) read() ([]string, error) {
	if s.File == "" {
		return []string{string(s.Text)}, checkToken(string(s.Text))
	}
	f, err := os.Open(s.File)
	if err != nil {
		return nil, fmt.Errorf("token-file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return nil, fmt.Errorf("token-file: %w", err)
	}
	tokens := strings.Fields(string(data))
	if len(tokens) == 0 {
		return nil, fmt.Errorf("token-file %s is empty: write a token into it, as openssl rand -hex 32 prints one", s.File)
	}
	for _, token := range tokens {
		if err := checkToken(token); err != nil {
			return nil, fmt.Errorf("token-file %s: %w", s.File, err)
		}
	}
	return tokens, nil
}

func (s tokenSource) files() []string {
	if s.File == "" {
		return nil
	}
	return []string{s.File}
}

// toShow returns the function that a follower asks for the token to show: the file's first.
func (s tokenSource) toShow(log *slog.Logger) (func() string, error) {
	if s == (tokenSource{}) {
		return nil, nil
	}
	tokens, err := readFiles("token for the upstream", s.files(), log, s.read)
	if err != nil {
		return nil, err
	}
	return func() string { return tokens.get()[0] }, nil
}

// grant is what one token may do.
type grant struct {
	name string
	sum  [sha256.Size]byte // of the token
	dbs  []string          // as in tokenConfig
}

// readGrants reads all tokens.
func readGrants(tokens []tokenConfig) ([]grant, error) {
	var grants []grant
	owner := make(map[[sha256.Size]byte]string)
	for _, t := range tokens {
		texts, err := t.Token.read()
		if err != nil {
			return nil, fmt.Errorf("token %s: %w", t.Name, err)
		}
		for _, text := range texts {
			sum := sha256.Sum256([]byte(text))
			if other, ok := owner[sum]; ok {
				return nil, fmt.Errorf("token %s is the same as %s: give each its own", t.Name, other)
			}
			owner[sum] = t.Name
			grants = append(grants, grant{t.Name, sum, t.DBs})
		}
	}
	return grants, nil
}

func tokenFiles(tokens []tokenConfig) (files []string) {
	for _, t := range tokens {
		files = append(files, t.Token.files()...)
	}
	return files
}

// find returns the grant of a token, nil if there is none. How long it takes says nothing of the tokens.
func find(grants []grant, token string) (found *grant) {
	sum := sha256.Sum256([]byte(token))
	for i := range grants {
		if subtle.ConstantTimeCompare(sum[:], grants[i].sum[:]) == 1 {
			found = &grants[i]
		}
	}
	return found
}

// mayRead tells whether the database at path is one of the grant's.
func (g *grant) mayRead(path string) bool {
	if g.dbs == nil {
		return true
	}
	for _, pattern := range g.dbs {
		if matches(pattern, path) {
			return true
		}
	}
	return false
}

// matches tells whether path is what pattern says: itself, what it matches where * stands for anything but a slash, or,
// with /** at its end, what lies below it.
func matches(pattern, path string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/**"); ok && path == filepath.Clean(path) && strings.HasPrefix(path, dir+"/") {
		return true
	}
	ok, err := filepath.Match(pattern, path)
	return pattern == path || ok && err == nil
}

// checkPattern tests an entry of a token's dbs.
func checkPattern(pattern string) error {
	if !filepath.IsAbs(pattern) {
		return fmt.Errorf("dbs has %q, which is not absolute: give a database's whole path, or a pattern, as in /data/*.db or /data/**", pattern)
	}
	if _, err := filepath.Match(pattern, ""); err != nil {
		return fmt.Errorf("dbs has the pattern %q: %w: see https://pkg.go.dev/path/filepath#Match", pattern, err)
	}
	return nil
}
