package stream

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Withdraw drops what was appended and not published.
func (l *Log) Withdraw() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	l.rec.empty()
	return l.cut(l.published, false)
}

// TruncateAfter ends the log at p, which it contains. The records after p are
// set aside.
func (l *Log) TruncateAfter(p Pos) error {
	return l.change(func() error {
		if !l.contains(p) {
			return fmt.Errorf("truncate log in %s after %s: %w", l.dir.Name(), p, ErrNotInLog)
		}
		if err := l.cut(p, true); err != nil {
			return err
		}
		if l.published.TXID > p.TXID {
			l.published = p
		}
		return nil
	})
}

// Reset begins a new history at p: the records there are, are set aside.
func (l *Log) Reset(p Pos) error {
	return l.change(func() error { return l.restart(p) })
}

// change runs f under mu and then lets readers see what became of the log.
func (l *Log) change(f func() error) error {
	l.mu.Lock()
	err := l.usable()
	if err == nil {
		err = l.write()
	}
	if err == nil {
		err = f()
	}
	woken := l.rewatch()
	l.mu.Unlock()
	close(woken)
	return err
}

// restart replaces all segments by an empty one at p. Nothing changes where it
// cannot be made. A crash in the middle leaves a log that begins at the zero
// position or at p.
func (l *Log) restart(p Pos) error {
	s, err := l.create(p)
	if err != nil {
		return err
	}
	err = errors.Join(l.retire(l.segs), l.dir.Rename(newFile, s.name), l.active().release())
	l.segs, l.published = []*segment{s}, p
	l.era++
	l.damaged = 0
	if err != nil {
		l.closed = true // what the directory holds now is for OpenLog to find out
		err = errors.Join(err, s.release())
	}
	return err
}

// cut drops the records after p, which is in the log; aside keeps them under
// another name.
func (l *Log) cut(p Pos, aside bool) error {
	drop := func(s *segment) error { return l.dir.Remove(s.name) }
	if aside {
		drop = func(s *segment) error { return l.retire([]*segment{s}) }
	}
	for l.active().base.TXID > p.TXID {
		s, before := l.active(), l.segs[len(l.segs)-2]
		if _, err := before.acquire(l.dir); err != nil {
			return err
		}
		l.segs = l.segs[:len(l.segs)-1]
		if err := errors.Join(drop(s), s.release()); err != nil {
			return err
		}
	}
	return l.cutRecords(l.active(), p.TXID, aside)
}

func (l *Log) cutRecords(s *segment, txid TXID, aside bool) error {
	n := int(txid - s.base.TXID)
	if n >= len(s.records) {
		return nil
	}
	end := s.end(txid)
	if aside {
		if err := l.copyAside(s.file, s.name, end); err != nil {
			return err
		}
	}
	s.records, s.size, s.dirty = s.records[:n], end, true
	return s.file.Truncate(end)
}

// cutTail sets aside what follows the last good record of a segment that is
// not yet part of the log.
func (l *Log) cutTail(s *segment) error {
	f, err := l.dir.OpenFile(s.name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = l.copyAside(f, s.name, s.size)
	if err == nil {
		err = errors.Join(f.Truncate(s.size), f.Sync())
	}
	return errors.Join(err, f.Close())
}

// copyAside copies what a segment has from offset on to a file of its own.
func (l *Log) copyAside(f *os.File, name string, offset int64) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	to, err := l.asideName(name)
	if err != nil {
		return err
	}
	w, err := l.dir.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(f, offset, fi.Size()-offset))
	return errors.Join(err, w.Sync(), w.Close(), l.trimAside())
}

// retire takes segments out of use; those without records are no loss.
func (l *Log) retire(segs []*segment) error {
	var errs []error
	for _, s := range segs {
		if len(s.records) == 0 {
			errs = append(errs, l.dir.Remove(s.name))
		} else {
			errs = append(errs, l.setAside(s.name))
		}
	}
	return errors.Join(errs...)
}

// setAside keeps a segment under another name.
func (l *Log) setAside(name string) error {
	to, err := l.asideName(name)
	if err != nil {
		return err
	}
	return errors.Join(l.dir.Rename(name, to), l.trimAside())
}

func (l *Log) asideName(name string) (string, error) {
	n, err := asideNumber(l.dir, ".", name, "")
	return asideName(name, n), err
}

// trimAside removes the oldest set-aside files where all take more than
// MaxBytes: resets must not fill the disk.
func (l *Log) trimAside() error {
	files, err := fs.ReadDir(l.dir.FS(), ".")
	if err != nil {
		return err
	}
	var infos []fs.FileInfo
	var total int64
	for _, f := range files {
		fi, err := f.Info()
		if err != nil || !strings.HasPrefix(fi.Name(), segmentPrefix) || !strings.HasSuffix(fi.Name(), asideSuffix) {
			continue
		}
		infos = append(infos, fi)
		total += fi.Size()
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for len(infos) > 1 && total > l.opt.MaxBytes {
		l.opt.Logger.Warn("removing the oldest of what was moved aside from the log", "dir", l.dir.Name(), "file", infos[0].Name())
		if err := l.dir.Remove(infos[0].Name()); err != nil {
			return err
		}
		total -= infos[0].Size()
		infos = infos[1:]
	}
	return nil
}

// retain drops old segments: those beyond MaxBytes or MaxAge, except the two
// newest, one that a reader still needs (up to twice MaxBytes), and what is not
// published.
func (l *Log) retain() {
	var total int64
	for _, s := range l.segs {
		total += s.size
	}
	now := l.opt.Now()
	for len(l.segs) > 2 && l.dispensable(l.segs[0], total, now) {
		s := l.segs[0]
		if err := l.dir.Remove(s.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.opt.Logger.Error("drop old log segment", "dir", l.dir.Name(), "segment", s.name, "err", err)
			return
		}
		total -= s.size
		l.segs = l.segs[1:]
	}
}

func (l *Log) dispensable(s *segment, total int64, now time.Time) bool {
	if total <= l.opt.MaxBytes && now.Sub(s.newest) <= l.opt.MaxAge {
		return false
	}
	last := s.last().TXID
	if last > l.published.TXID {
		return false
	}
	return total > 2*l.opt.MaxBytes || !l.needed(last)
}

// needed tells whether a reader still has txid to read.
func (l *Log) needed(txid TXID) bool {
	for r := range l.readers {
		if r.era == l.era && r.pos.TXID < txid {
			return true
		}
	}
	return false
}
