package stream

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/superfly/ltx"
)

// sumsBeyond is how many page checksums a follower may have beyond the size of
// the database that are kept while it gets a delta.
const sumsBeyond = 1 << 20

func (f *follower) readSums(body io.Reader) (*Sums, error) {
	size := f.db.Status().Size
	r := bufio.NewReader(f.conn.reader(body))
	return readSums(r, math.MaxUint32, min(size, math.MaxUint32-sumsBeyond)+sumsBeyond)
}

// snapshot streams a snapshot, or a delta to have, with the transactions that
// complete it.
func (f *follower) snapshot(have *Sums) (reader *LogReader, err error) {
	stop := func() {}
	begin := func(h SnapshotHeader) error {
		if !ltx.IsValidPageSize(h.PageSize) {
			return errors.New("the database has no page size yet")
		}
		if reader, err = f.log.Reader(h.Pos); err != nil {
			return err
		}
		if err := f.hello(hello{pages: true, SnapshotHeader: h}); err != nil {
			return err
		}
		stop = f.keepBeating()
		return nil
	}
	until, err := f.db.Snapshot(f.ctx, have, begin, f.page)
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
	f.buf = appendRecord(f.buf[:0], recordDone, appendPos(nil, until))
	_, err = f.w.Write(f.buf)
	return reader, err
}

func (f *follower) page(pgno uint32, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lzTo) < len(data) {
		f.lzTo = make([]byte, len(data))
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], pgno)
	f.buf = appendRecord(f.buf[:0], recordPage, b[:], packPage(&f.lz, data, f.lzTo))
	_, err := f.w.Write(f.buf)
	return err
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
				if f.beat() != nil || f.flush() != nil {
					return // the next page finds the error too
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}
