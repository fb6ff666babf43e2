package stream

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// LogFiles reads the log in a directory that no [Log] has open, and changes nothing there. It is used by one goroutine.
type LogFiles struct {
	dir  *os.Root
	segs []*segment // unbroken, oldest first, never none
	next TXID
	file *os.File // of the segment that was read last
	name string   // of file
}

// OpenLogFiles verifies the log in dir as [OpenLog] does, which it would leave what is damaged out of, too. dir must stay
// open until Close.
func OpenLogFiles(dir *os.Root) (*LogFiles, error) {
	l := &Log{dir: dir}
	names, err := l.segmentNames()
	if err != nil {
		return nil, err
	}
	f := &LogFiles{dir: dir}
	for _, name := range names {
		s, _, err := l.scan(name) // damage ends the segment: what follows does not fit to it
		if err != nil {
			return nil, err
		}
		if s == nil || s.name != segmentName(s.base) {
			continue
		}
		if len(f.segs) > 0 && f.Last() != s.base {
			f.segs = nil
		}
		f.segs = append(f.segs, s)
	}
	if len(f.segs) == 0 {
		return nil, fmt.Errorf("%w: no log in %s", fs.ErrNotExist, dir.Name())
	}
	f.next = f.First().TXID + 1
	return f, nil
}

// First is the position before the first transaction that Next returns.
func (f *LogFiles) First() Pos { return f.segs[0].base }

// Last is the position after the last one.
func (f *LogFiles) Last() Pos { return f.segs[len(f.segs)-1].last() }

// Seek has Next return the transactions after p. ErrNotInLog says that the log does not have it.
func (f *LogFiles) Seek(p Pos) error {
	l := &Log{segs: f.segs}
	if !l.contains(p) {
		return fmt.Errorf("%s: %w, which has %s to %s", p, ErrNotInLog, f.First(), f.Last())
	}
	f.next = p.TXID + 1
	return nil
}

// Next returns the next transaction's LTX file of n bytes, which can be read until the call after; io.EOF after the
// last.
func (f *LogFiles) Next() (payload io.Reader, n int64, err error) {
	if f.next > f.Last().TXID {
		return nil, 0, io.EOF
	}
	s := segmentOf(f.segs, f.next)
	if s.name != f.name {
		if err := f.Close(); err != nil {
			return nil, 0, err
		}
		if f.file, err = f.dir.Open(s.name); err != nil {
			return nil, 0, err
		}
		f.name = s.name
	}
	from, to := s.extent(f.next)
	f.next++
	n = to - from - recordOverhead
	return io.NewSectionReader(f.file, from+recordHeaderSize, n), n, nil
}

// Close closes what is open of the log.
func (f *LogFiles) Close() error {
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file, f.name = nil, ""
	return file.Close()
}
