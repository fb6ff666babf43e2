package stream

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var (
	idA = strings.Repeat("a0", idLen/2)
	idB = strings.Repeat("b1", idLen/2)
	idC = strings.Repeat("c2", idLen/2)
)

func testPos(txid TXID) Pos { return Pos{TXID: txid, PostApplyChecksum: 1<<63 | Checksum(txid)} }

func TestLineageFollows(t *testing.T) {
	l := Lineage{ID: idB, Ancestors: []Ancestor{{idA, testPos(7)}}}
	for _, tt := range []struct {
		id   string
		pos  Pos
		want bool
		why  string
	}{
		{idB, testPos(3), true, "the same history"},
		{idB, Pos{}, true, "the same history, at an unknown position"},
		{idA, testPos(6), true, "before the fork"},
		{idA, testPos(7), true, "at the fork"},
		{idA, Pos{TXID: 7, PostApplyChecksum: 1 << 63}, false, "another state than at the fork"},
		{idA, testPos(8), false, "beyond the fork"},
		{idA, Pos{}, false, "nobody knows"},
		{idC, testPos(1), false, "another database"},
	} {
		if got := l.Follows(tt.id, tt.pos); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.why, got, tt.want)
		}
	}
	for range 2 * maxAncestors {
		l = l.fork(testPos(9))
	}
	if err := l.validate(); err != nil || len(l.Ancestors) != maxAncestors || l.Ancestors[0].Until != testPos(9) {
		t.Errorf("got %d ancestors, %v", len(l.Ancestors), err)
	}
}

// What encode makes comes back, and with any byte changed or left out it does not.
func TestIdentityFile(t *testing.T) {
	for _, want := range []identity{
		{Lineage: Lineage{ID: idA}},
		{Lineage: Lineage{ID: idA, Ancestors: []Ancestor{{idB, testPos(7)}, {idC, Pos{}}}}, owner: "12-34.5"},
	} {
		b := want.encode()
		if got, err := parseIdentity(b); err != nil || !got.equal(want.Lineage) || got.owner != want.owner {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for i := range b {
			for _, bit := range []byte{1, 2, 0x20, 0x80} {
				bad := append([]byte(nil), b...)
				bad[i] ^= bit
				if _, err := parseIdentity(bad); !errors.Is(err, ErrCorrupt) {
					t.Errorf("byte %d changed: got %v, want it corrupt", i, err)
				}
			}
			if _, err := parseIdentity(b[:i]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("cut at %d: got %v, want it corrupt", i, err)
			}
		}
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add(identity{Lineage: Lineage{ID: idA}}.encode())
	f.Add(identity{Lineage: Lineage{ID: idA, Ancestors: []Ancestor{{idB, testPos(7)}}}, owner: "12-34.5"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := parseIdentity(b)
		if err == nil && string(i.encode()) != string(b) {
			t.Errorf("got %+v, which is encoded otherwise", i)
		}
	})
}

// The history forks where a log gets another owner, and only there; each step survives a restart, as does the loss of
// the identity file, but for what it knew of ancestors.
func TestLogClaim(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, LogOptions{})
	claim := func(owner string, want bool) {
		t.Helper()
		if forked, err := m.log.Claim(owner); err != nil || forked != want {
			t.Fatalf("claim for %s: got forked %v, %v, want %v", owner, forked, err, want)
		}
	}
	reopen := func() {
		t.Helper()
		m.log.Close()
		m.log = openTestLog(t, dir, LogOptions{})
	}
	claim("here", false)
	a := m.log.ID()
	fork := m.commitRandom(newRand(t))
	reopen()
	claim("here", false)
	claim("there", true)
	b := m.log.ID()
	beyond := m.commitRandom(newRand(t))
	reopen()
	if l := m.log.Lineage(); l.ID != b || b == a || len(l.Ancestors) != 1 || l.Ancestors[0] != (Ancestor{a, fork}) || m.log.Last() != beyond || m.log.First() != (Pos{}) {
		t.Errorf("got %+v, log from %s to %s", l, m.log.First(), m.log.Last())
	}
	for _, tt := range []struct {
		id  string
		pos Pos
		ok  bool
	}{{b, beyond, true}, {a, fork, true}, {a, beyond, false}, {a, Pos{TXID: 1, PostApplyChecksum: 1 << 63}, false}, {a, Pos{}, false}, {idC, fork, false}} {
		if err := m.log.Admit(tt.id, tt.pos); (err == nil) != tt.ok {
			t.Errorf("%s at %s: got %v, want it admitted: %v", tt.id, tt.pos, err, tt.ok)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, idFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reopen()
	if m.log.ID() != b || len(glob(t, dir, idFile+".*.bad")) != 1 {
		t.Errorf("got %s, set aside %v; want %s and the damaged file", m.log.ID(), glob(t, dir, "*.bad"), b)
	}
	claim("there", true)
}

// A replica's log keeps its records where it goes on, and gives up being a primary's.
func TestLogAdoptFork(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, LogOptions{})
	if _, err := m.log.Claim("here"); err != nil {
		t.Fatal(err)
	}
	last := m.commitRandom(newRand(t))
	next := m.log.Lineage().fork(last)
	if err := m.log.Adopt(next); err != nil {
		t.Fatal(err)
	}
	if m.log.Owned() || m.log.First() != (Pos{}) || m.log.Last() != last || !m.log.Lineage().equal(next) {
		t.Errorf("got owned %v, %s to %s, %+v", m.log.Owned(), m.log.First(), m.log.Last(), m.log.Lineage())
	}
	m.commitRandom(newRand(t))
	m.log.Close()
	if l := openTestLog(t, dir, LogOptions{}); l.First() != (Pos{}) || l.Last().TXID != last.TXID+1 || !l.Lineage().equal(next) {
		t.Errorf("reopened: got %s to %s, %+v", l.First(), l.Last(), l.Lineage())
	}
}
