package stream

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"
)

// sumsBeyond is how many page checksums a follower may have beyond the size of
// the database that are kept while it gets a delta.
const sumsBeyond = 1 << 20

// readSums reads a follower's page checksums, if not too many others send theirs.
func (s *Server) readSums(f *follower, body io.Reader) (*Sums, error) {
	select {
	case s.taking <- struct{}{}:
		defer func() { <-s.taking }()
	default:
		return nil, refuse(http.StatusServiceUnavailable, "%d followers are sending their page checksums: try again later", cap(s.taking))
	}
	size := f.db.Status().Size
	r := bufio.NewReader(f.conn.reader(body))
	have, err := readSums(r, math.MaxUint32, min(size, math.MaxUint32-sumsBeyond)+sumsBeyond)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	return have, f.conn.extendRead(0)
}

// snapshot streams a snapshot, or a delta to have, with the transactions that
// complete it.
func (f *follower) snapshot(have *Sums, page func(uint32, []byte) error) (reader *LogReader, err error) {
	f.header()
	stop := f.keepBeating()
	defer func() { stop() }()
	if err := f.acquire(); err != nil {
		return nil, err
	}
	begin := func(h SnapshotHeader) error {
		if !ltx.IsValidPageSize(h.PageSize) {
			return errors.New("the database has no page size yet")
		}
		if reader, err = f.log.Reader(h.Pos); err != nil {
			return err
		}
		return f.hello(hello{pages: true, SnapshotHeader: h})
	}
	until, err := f.db.Snapshot(f.ctx, have, begin, page)
	if err == nil {
		err = f.flushSums()
	}
	f.release()
	stop()
	if err == nil && reader == nil {
		err = errors.New("the database did not begin it")
	}
	if err != nil {
		return reader, fmt.Errorf("snapshot: %w", err)
	}
	for reader.Pos().TXID < until.TXID {
		rec, err := reader.Next(f.ctx)
		if err != nil {
			return reader, err
		}
		if err := f.copy(reader, rec); err != nil {
			return reader, err
		}
	}
	if reader.Pos() != until {
		return reader, fmt.Errorf("snapshot ended at %s, the log is at %s: %w", until, reader.Pos(), ErrPosMismatch)
	}
	return reader, f.record(recordDone, appendPos(nil, until))
}

// packer packs pages. Its tables are larger than all else that a follower needs, and not kept for one.
type packer struct {
	lz  lz4.Compressor
	buf [ltx.MaxPageSize]byte
}

var packers = sync.Pool{New: func() any { return new(packer) }}

func (f *follower) page(pgno uint32, data []byte) error {
	if err := f.makeRoom(recordOverhead + 4 + len(data)); err != nil {
		return err
	}
	p := packers.Get().(*packer)
	defer packers.Put(p)
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], pgno)
	return f.record(recordPage, b[:], packPage(&p.lz, data, p.buf[:]))
}

// makeRoom sends what has gathered if n bytes more do not fit. The network may take long: meanwhile others read.
func (f *follower) makeRoom(n int) error {
	if f.fits(n) {
		return nil
	}
	f.release()
	f.mu.Lock()
	err := f.w.Flush()
	f.mu.Unlock()
	return errors.Join(err, f.acquire())
}

// fits tells whether n bytes go into the buffer.
func (f *follower) fits(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return n <= f.w.Available()
}

// acquire waits for the right to read pages. All the pages of a snapshot are read, so that many snapshots at once would
// leave the disk and the database's mutex to no one else.
func (f *follower) acquire() error {
	select {
	case f.reading <- struct{}{}:
		f.reads = true
		return nil
	case <-f.ctx.Done():
		return f.ctx.Err()
	}
}

func (f *follower) release() {
	if f.reads {
		f.reads = false
		<-f.reading
	}
}

// keepBeating sends heartbeats until stop has returned: a delta may take long
// to find the next page that differs.
func (f *follower) keepBeating() (stop func()) {
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(f.opt.Heartbeat)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if f.beat(nil) != nil || f.flush() != nil {
					return // the next page finds the error too
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}
