package stream

import (
	"fmt"
	"slices"
)

// A Lineage says which history a database's transactions are. An identity is one writer's: who begins to write where
// another one wrote takes a new identity and remembers the old one, up to the position at which he began. So positions
// of two writers are never taken for each other's, and yet a replica that has nothing of its own beyond a fork can
// follow either branch.
type Lineage struct {
	ID        string
	Ancestors []Ancestor // newest first, at most maxAncestors
}

// An Ancestor is a history from which a Lineage branches off.
type Ancestor struct {
	ID    string
	Until Pos // the last position that both have
}

// maxAncestors is how many are remembered: a replica that follows an older one is another database.
const maxAncestors = 16

// Follows tells whether a database of identity id at pos is of this history, as far as can be told without its log.
func (l Lineage) Follows(id string, pos Pos) bool {
	if id == l.ID {
		return true
	}
	a, ok := l.ancestor(id)
	return ok && pos != Pos{} && (pos.TXID < a.Until.TXID || pos == a.Until)
}

func (l Lineage) ancestor(id string) (Ancestor, bool) {
	i := slices.IndexFunc(l.Ancestors, func(a Ancestor) bool { return a.ID == id })
	if i < 0 {
		return Ancestor{}, false
	}
	return l.Ancestors[i], true
}

// has tells whether id is the identity or an ancestor's.
func (l Lineage) has(id string) bool {
	_, ok := l.ancestor(id)
	return ok || id == l.ID
}

func (l Lineage) equal(m Lineage) bool { return l.ID == m.ID && slices.Equal(l.Ancestors, m.Ancestors) }

// fork is the lineage of a new writer who goes on from until.
func (l Lineage) fork(until Pos) Lineage {
	n := Lineage{ID: newID(), Ancestors: append([]Ancestor{{l.ID, until}}, l.Ancestors...)}
	n.Ancestors = n.Ancestors[:min(len(n.Ancestors), maxAncestors)]
	return n
}

// validate checks a lineage that comes from outside.
func (l Lineage) validate() error {
	if !validID(l.ID) {
		return fmt.Errorf("%w: identity %q", ErrCorrupt, l.ID)
	}
	if len(l.Ancestors) > maxAncestors {
		return fmt.Errorf("%w: %d ancestors, at most %d allowed", ErrCorrupt, len(l.Ancestors), maxAncestors)
	}
	for _, a := range l.Ancestors {
		if !validID(a.ID) {
			return fmt.Errorf("%w: ancestor with identity %q", ErrCorrupt, a.ID)
		}
	}
	return nil
}
