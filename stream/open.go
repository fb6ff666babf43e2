package stream

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// newFile is a segment before it gets its name.
const newFile = "log-new"

func (l *Log) open() error {
	if err := l.dir.Remove(newFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names, err := l.segmentNames()
	if err != nil {
		return err
	}
	if err := l.readIdentity(names); err != nil {
		return err
	}
	for _, name := range names {
		if err := l.load(name); err != nil {
			return err
		}
	}
	if l.identity.ID == "" {
		if err := l.writeIdentity(identity{Lineage: Lineage{ID: newID()}}); err != nil {
			return err
		}
		l.fresh = len(l.segs) == 0
	}
	if len(l.segs) == 0 {
		return l.begin(Pos{})
	}
	l.published = l.last()
	_, err = l.active().acquire(l.dir)
	return err
}

// segmentNames lists the segments, oldest first.
func (l *Log) segmentNames() ([]string, error) {
	files, err := fs.ReadDir(l.dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		if isSegmentName(f.Name()) {
			names = append(names, f.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// load adds a segment to the log. The log is the unbroken run of segments that
// ends with the newest, since that is the one the database is at.
func (l *Log) load(name string) error {
	s, damage, err := l.scan(name)
	if err != nil {
		return err
	}
	if s == nil || !l.identity.has(s.id) || s.name != segmentName(s.base) {
		l.warnAside(name, damage)
		return l.setAside(name)
	}
	if damage != nil {
		l.warnAside(name, damage)
		if err := l.cutTail(s); err != nil {
			return err
		}
	}
	if len(l.segs) > 0 && l.last() != s.base {
		if err := l.retire(l.segs); err != nil {
			return err
		}
		l.segs = nil
	}
	l.segs = append(l.segs, s)
	return nil
}

func (l *Log) warnAside(name string, damage error) {
	if damage == nil {
		damage = errors.New("it belongs to another database")
	}
	l.opt.Logger.Warn("the log is damaged; what cannot be used is moved aside", "dir", l.dir.Name(), "segment", name, "err", damage)
}

// scan reads a segment; damage is what scanSegment says, err that the file
// cannot be read at all.
func (l *Log) scan(name string) (s *segment, damage, err error) {
	f, err := l.dir.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	s, damage = scanSegment(f, fi.Size())
	if s != nil {
		s.name = name
	}
	if _, ok := errors.AsType[*fs.PathError](damage); ok {
		return nil, nil, damage // the disk failed, not the contents
	}
	return s, damage, nil
}

// begin makes an empty segment at p the whole log; the segments there were have
// been retired.
func (l *Log) begin(p Pos) error {
	s, err := l.create(p)
	if err != nil {
		return err
	}
	if err := l.dir.Rename(newFile, s.name); err != nil {
		return errors.Join(err, s.release())
	}
	l.segs, l.published = []*segment{s}, p
	return nil
}

// create writes the file of an empty segment, which still is to be renamed to
// its name, and holds it open.
func (l *Log) create(base Pos) (*segment, error) {
	f, err := l.dir.OpenFile(newFile, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(encodeSegmentHeader(l.identity.ID, base)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.newNames = true
	return &segment{
		name: segmentName(base), id: l.identity.ID, base: base, size: segmentHeaderSize,
		newest: l.opt.Now(), dirty: true, file: f, refs: 1,
	}, nil
}

// NewID returns a random identity.
func NewID() string { return newID() }

func newID() string {
	var b [idLen / 2]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func validID(id string) bool {
	return len(id) == idLen && strings.Trim(id, "0123456789abcdef") == ""
}
