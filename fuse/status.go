package fuse

import (
	"context"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"weir/fuse/internal/apply"
	"weir/fuse/internal/capture"
	"weir/fuse/internal/dbfile"
	"weir/stream"
)

// servedPrimary is a captured database with what the mount knows of it.
type servedPrimary struct {
	*capture.Database
	dir  *directory
	name string
}

var (
	_ = (stream.Database)((*servedPrimary)(nil))
	_ = (stream.Current)((*servedPrimary)(nil))
)

// Status adds the WAL.
func (p *servedPrimary) Status() stream.Status {
	s := p.Database.Status()
	s.WAL = p.dir.wal(p.name)
	return s
}

// Now captures what is committed. An app that has committed may be ahead of that for a moment.
func (p *servedPrimary) Now(context.Context) (stream.Pos, error) {
	p.Capture()
	return p.Log().Published(), nil
}

// servedReplica is the same of a replica.
type servedReplica struct {
	*apply.Database
	dir      *directory
	name     string
	upstream *Upstream
}

var (
	_ = (stream.Database)((*servedReplica)(nil))
	_ = (stream.Current)((*servedReplica)(nil))
	_ = (stream.Comparable)((*servedReplica)(nil))
)

// Now asks the upstream.
func (r *servedReplica) Now(ctx context.Context) (stream.Pos, error) {
	return stream.AskNow(ctx, r.upstream.URL, r.upstream.Path, stream.FollowOptions{Credentials: r.upstream.Credentials})
}

// UpstreamSums asks the upstream.
func (r *servedReplica) UpstreamSums(ctx context.Context, progress func(done, total uint32)) (*stream.Sums, stream.Pos, error) {
	return stream.AskSums(ctx, r.upstream.URL, r.upstream.Path, stream.FollowOptions{Credentials: r.upstream.Credentials}, progress)
}

// Status adds the WAL.
func (r *servedReplica) Status() stream.Status {
	s := r.Database.Status()
	s.WAL = r.dir.wal(r.name)
	return s
}

// wal is the state of a database's WAL, as far as it can be had.
func (d *directory) wal(name string) (s stream.WALStatus) {
	fi, err := d.root.Stat(name + dbfile.SuffixWAL)
	if err != nil {
		return s
	}
	s.Bytes = fi.Size()
	info, ok := d.walIndex(name, &s)
	if !ok {
		return s
	}
	shm, err := d.inside.open(name + dbfile.SuffixSHM)
	if err != nil {
		return s
	}
	defer shm.Close()
	d.holder(shm, info, &s)
	return s
}

// walIndex reads the wal-index below the mount, which is what apps share where the kernel passes it through and on a
// replica.
func (d *directory) walIndex(name string, s *stream.WALStatus) (info dbfile.CkptInfo, ok bool) {
	if !d.passthrough && !d.readOnly {
		return info, false
	}
	b := make([]byte, 2*dbfile.IndexHeaderSize+dbfile.CkptInfoSize)
	if err := d.readAt(name+dbfile.SuffixSHM, b, 0); err != nil {
		return info, false
	}
	h, err := dbfile.ParseIndexHeader(b)
	if err != nil {
		return info, false // being written, or being made
	}
	if info, err = dbfile.ParseCkptInfo(b); err != nil {
		return info, false
	}
	s.Frames, s.Backfilled = h.MxFrame, info.NBackfill
	return info, true
}

// holder finds who keeps the oldest frames from being copied into the database. A reader on mark 0 uses the database
// without the WAL: nothing may be copied while it reads.
func (d *directory) holder(shm *os.File, info dbfile.CkptInfo, s *stream.WALStatus) {
	info.ReadMark[0] = s.Backfilled
	oldest := s.Frames // who has them all holds nothing up
	for i, mark := range info.ReadMark {
		if mark >= oldest {
			continue
		}
		pid, held, err := lockedBy(shm, dbfile.ReadLock(i))
		if err != nil || !held {
			continue
		}
		oldest = mark
		s.Held, s.HeldFrame, s.HeldPID = true, mark, pid
	}
	if s.HeldPID != 0 {
		s.HeldCommand = command(strconv.Itoa(s.HeldPID))
	}
}

// lockedBy returns who has a lock on the byte at off; pid is 0 where that is not to be seen from here.
func lockedBy(f *os.File, off int64) (pid int, held bool, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	ask := &unix.Flock_t{Type: unix.F_WRLCK, Start: off, Len: 1}
	if closed := conn.Control(func(fd uintptr) { err = unix.FcntlFlock(fd, unix.F_OFD_GETLK, ask) }); err == nil {
		err = closed
	}
	return max(0, int(ask.Pid)), err == nil && ask.Type != unix.F_UNLCK, err
}
