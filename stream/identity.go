package stream

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"
)

// The identity file is text:
//
//	weir identity 1
//	id ID
//	owner NAME           of the directory in which ID writes; not on a replica
//	parent ID POS        for each ancestor, the newest first
//	crc CRC              CRC-32C of all before, 8 hex digits
const (
	idFile     = "id"
	idMagic    = "weir identity 1"
	idFileMax  = 4 << 10 // bytes; one with all ancestors is shorter
	ownerLabel = "owner "
)

// identity is what the identity file holds.
type identity struct {
	Lineage
	owner string // "" on a replica
}

func (i identity) encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nid %s\n", idMagic, i.ID)
	if i.owner != "" {
		fmt.Fprintf(&b, "%s%s\n", ownerLabel, i.owner)
	}
	for _, a := range i.Ancestors {
		fmt.Fprintf(&b, "parent %s %s\n", a.ID, a.Until)
	}
	fmt.Fprintf(&b, "crc %08x\n", crc32.Checksum([]byte(b.String()), crcTable))
	return []byte(b.String())
}

// parseIdentity takes nothing but what encode makes.
func parseIdentity(b []byte) (i identity, err error) {
	lines := strings.Split(string(b[:min(len(b), idFileMax)]), "\n")
	if len(b) > idFileMax || len(lines) < 4 || lines[0] != idMagic {
		return i, fmt.Errorf("%w: not an identity file", ErrCorrupt)
	}
	i.ID = strings.TrimPrefix(lines[1], "id ")
	rest := lines[2:]
	if owner, ok := strings.CutPrefix(rest[0], ownerLabel); ok {
		i.owner, rest = owner, rest[1:]
	}
	for ; len(rest) > 0 && strings.HasPrefix(rest[0], "parent "); rest = rest[1:] {
		id, pos, _ := strings.Cut(rest[0][len("parent "):], " ")
		until, err := parsePosText(pos)
		if err != nil {
			return i, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		i.Ancestors = append(i.Ancestors, Ancestor{id, until})
	}
	if err := i.validate(); err != nil {
		return i, err
	}
	if string(i.encode()) != string(b) {
		return i, fmt.Errorf("%w: identity file does not have its checksum", ErrCorrupt)
	}
	return i, nil
}

// readIdentity reads the identity file; where it is damaged it is set aside, and the newest segment says whose log this
// is.
func (l *Log) readIdentity(segments []string) error {
	b, err := l.dir.ReadFile(idFile)
	if errors.Is(err, fs.ErrNotExist) {
		return l.identityOf(segments)
	}
	if err != nil {
		return err
	}
	l.identity, err = parseIdentity(b)
	if err == nil {
		return nil
	}
	l.identity = identity{}
	to, asideErr := SetAside(l.dir, idFile, ".")
	if asideErr != nil {
		return asideErr
	}
	l.opt.Logger.Warn("the identity file is damaged; it is moved aside, the newest log segment says what was in it", "dir", l.dir.Name(), "file", idFile, "err", err, "aside", to)
	return l.identityOf(segments)
}

// identityOf takes the identity from the newest segment that has one.
func (l *Log) identityOf(segments []string) error {
	for i := len(segments) - 1; i >= 0; i-- {
		f, err := l.dir.Open(segments[i])
		if err != nil {
			return err
		}
		b := make([]byte, segmentHeaderSize)
		_, err = f.ReadAt(b, 0)
		if err = errors.Join(err, f.Close()); err != nil {
			continue // load says what is wrong with it
		}
		if id, _, err := parseSegmentHeader(b); err == nil {
			return l.writeIdentity(identity{Lineage: Lineage{ID: id}})
		}
	}
	return nil
}

// writeIdentity replaces the identity file: written beside, synced, renamed, and the directory synced.
func (l *Log) writeIdentity(i identity) error {
	f, err := l.dir.OpenFile(idFile+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(i.encode())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	if err := l.dir.Rename(idFile+".tmp", idFile); err != nil {
		return err
	}
	l.identity = i
	return l.syncDir()
}

// ID returns the identity of the database.
func (l *Log) ID() string { return l.Lineage().ID }

// Lineage returns the identity and those before it.
func (l *Log) Lineage() Lineage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.identity.Lineage
}

// Owned tells whether a writer claimed the log, and it was not a replica's since.
func (l *Log) Owned() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.identity.owner != ""
}

// Claim makes the log that of a writer in the directory called owner, a name that a copy of the directory does not have.
// Unless it was that already, or is new, the history forks: the log gets a new identity.
func (l *Log) Claim(owner string) (forked bool, err error) {
	err = l.change(func() error {
		switch {
		case l.identity.owner == owner:
			return nil
		case l.fresh:
			return l.writeIdentity(identity{l.identity.Lineage, owner})
		}
		forked = true
		if err := l.writeIdentity(identity{l.identity.fork(l.last()), owner}); err != nil {
			return err
		}
		return l.renew()
	})
	return forked, err
}

// Adopt gives a replica's log the lineage of its upstream. Its records stay where they belong to that; else they are set
// aside, and the log begins anew where it ends now.
func (l *Log) Adopt(n Lineage) error {
	if err := n.validate(); err != nil {
		return err
	}
	return l.change(func() error {
		if l.identity.owner == "" && l.identity.equal(n) {
			return nil
		}
		same, goesOn := l.identity.ID == n.ID, n.Follows(l.identity.ID, l.last())
		if err := l.writeIdentity(identity{Lineage: n}); err != nil || same {
			return err
		}
		if goesOn {
			return l.renew()
		}
		return l.restart(l.last())
	})
}

// renew begins a segment with the log's identity.
func (l *Log) renew() error {
	if len(l.active().records) > 0 {
		return l.roll()
	}
	s, err := l.create(l.last())
	if err != nil {
		return err
	}
	if err := l.dir.Rename(newFile, s.name); err != nil {
		return errors.Join(err, s.release())
	}
	old := l.active()
	l.segs[len(l.segs)-1] = s
	return old.release()
}

// Admit says, by an error, that a replica with identity id at pos cannot follow this log without losing what it has: its
// database is another one's, or it has transactions that this one has not.
func (l *Log) Admit(id string, pos Pos) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id == l.identity.ID {
		return nil
	}
	a, ok := l.identity.ancestor(id)
	switch {
	case !ok:
		return fmt.Errorf("this is database %s, not %s: they have no history in common. To follow this one, begin with an empty replica", l.identity.ID, id)
	case pos == Pos{}:
		return fmt.Errorf("this database went on as %s from %s of %s, and the replica is at no known position of that", l.identity.ID, a.Until, id)
	case !l.identity.Follows(id, pos), pos.TXID >= l.segs[0].base.TXID && !l.contains(pos):
		return fmt.Errorf("this database went on as %s from %s of %s, the replica is at %s: it has transactions that this one has not", l.identity.ID, a.Until, id, pos)
	}
	return nil
}
