package apply

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/superfly/ltx"

	"weir/stream"
)

// BeginSnapshot implements [stream.Replica].
func (d *Database) BeginSnapshot(ctx context.Context, h stream.SnapshotHeader) (stream.SnapshotWriter, error) {
	if !ltx.IsValidPageSize(h.PageSize) {
		return nil, fmt.Errorf("snapshot of %s: %w: %d pages of %d bytes", d.path, stream.ErrCorrupt, h.Size, h.PageSize)
	}
	if err := d.take(ctx); err != nil {
		return nil, err
	}
	w, err := d.beginSnapshot(h)
	if err != nil {
		d.give()
		return nil, err
	}
	d.upstream.receive(0, w.pages)
	return w, nil
}

func (d *Database) beginSnapshot(h stream.SnapshotHeader) (*snapshotWriter, error) {
	w := &snapshotWriter{d: d, pageSize: h.PageSize, pages: h.Size, lock: ltx.LockPgno(h.PageSize)}
	if d.exists() && h.Size == 0 {
		w.pageSize = d.hdr.PageSize // none is as good as another for no page
	}
	switch {
	case d.exists() && d.hdr.PageSize == w.pageSize:
		c := d.newChange()
		c.sums.resize(h.Size)
		w.to = &delta{change: c, kept: kept{d: d}}
		return w, nil
	case h.Size == 0:
		w.to = &nothing{d}
		return w, nil
	}
	s, err := d.newStage(h.PageSize)
	if err != nil {
		return nil, err
	}
	if d.exists() {
		w.to = &replacement{s}
	} else {
		w.to = &whole{s}
	}
	return w, s.resize(h.Size)
}

// target is what a snapshot is written to.
type target interface {
	set(pgno uint32, data []byte) error
	add(pages *stream.TxnReader) error
	commit(ctx context.Context, pos stream.Pos) error
	drop() error
}

// snapshotWriter implements [stream.SnapshotWriter]. It holds tailLock until Commit or Abort.
type snapshotWriter struct {
	d        *Database
	to       target
	pageSize uint32
	lock     uint32
	page     uint32 // the last that was received, but for those that were sent once more
	pages    uint32 // that the database had when the snapshot began
	ended    bool
}

// WritePage implements [stream.SnapshotWriter].
func (w *snapshotWriter) WritePage(pgno uint32, data []byte) error {
	if pgno == 0 || pgno == w.lock || uint32(len(data)) != w.pageSize {
		return fmt.Errorf("snapshot of %s: %w: page %d of %d bytes", w.d.path, stream.ErrCorrupt, pgno, len(data))
	}
	w.page = max(w.page, min(pgno, w.pages))
	w.d.upstream.receive(w.page, w.pages)
	return w.wrap(w.to.set(pgno, data))
}

// Apply implements [stream.SnapshotWriter].
func (w *snapshotWriter) Apply(payload io.Reader, n int64) error {
	pages, err := stream.NewTxnReader(payload, n)
	if err != nil {
		return w.wrap(err)
	}
	if size := pages.Header().PageSize; size != w.pageSize {
		return w.wrap(fmt.Errorf("%w: page size %d after %d", stream.ErrPosMismatch, size, w.pageSize))
	}
	return w.wrap(w.to.add(pages))
}

// Commit implements [stream.SnapshotWriter].
func (w *snapshotWriter) Commit(ctx context.Context, until stream.Pos) error {
	if w.ended {
		return w.wrap(stream.ErrClosed)
	}
	if err := w.to.commit(ctx, until); err != nil {
		return w.wrap(errors.Join(err, w.Abort()))
	}
	w.end()
	w.d.wantCheckpoint()
	return nil
}

// Abort implements [stream.SnapshotWriter].
func (w *snapshotWriter) Abort() error {
	if w.ended {
		return nil
	}
	defer w.end()
	return w.wrap(w.to.drop())
}

func (w *snapshotWriter) end() {
	w.ended = true
	w.d.upstream.receive(0, 0)
	w.d.give()
}

func (w *snapshotWriter) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("snapshot of %s: %w", w.d.path, err)
}

// delta writes the pages that differ into the WAL of the database that there is.
type delta struct {
	*change
	kept kept
}

// set keeps what is damaged before it replaces it.
func (t *delta) set(pgno uint32, data []byte) error {
	if t.doubtful(pgno) && (t.d.isLost(pgno) || t.d.sums.Page(pgno) != stream.PageSum(pgno, data)) {
		if err := t.kept.keep(pgno); err != nil {
			return err
		}
	}
	return t.change.set(pgno, data)
}

// doubtful tells whether a page may be another than was written: so where the database is at no position of the log.
func (t *delta) doubtful(pgno uint32) bool {
	return t.d.pos == stream.Pos{} && pgno <= t.d.sums.Len() || t.d.isLost(pgno)
}

func (t *delta) commit(_ context.Context, pos stream.Pos) error {
	if err := t.publish(pos); err != nil {
		return err
	}
	return errors.Join(t.kept.end(true), t.d.log.Reset(pos))
}

func (t *delta) drop() error {
	t.d.tail.drop()
	return t.kept.end(false)
}

// whole is the snapshot of a replica that has no database.
type whole struct{ *stage }

// commit starts the log before the database is in place: a log without a database counts as
// nothing, a database without its position in the log as one to compare.
func (t *whole) commit(_ context.Context, pos stream.Pos) error {
	if err := t.check(pos); err != nil {
		return err
	}
	if err := t.d.log.Reset(pos); err != nil {
		return err
	}
	return t.install(pos)
}

// nothing is the snapshot of a database without a page, for a replica that has none.
type nothing struct{ d *Database }

func (t *nothing) set(pgno uint32, _ []byte) error {
	return fmt.Errorf("%w: page %d of none", stream.ErrCorrupt, pgno)
}

// add has Follow begin anew, with the pages that there are by then.
func (t *nothing) add(*stream.TxnReader) error {
	return fmt.Errorf("%w: the database was created meanwhile", stream.ErrPosMismatch)
}

func (t *nothing) commit(_ context.Context, pos stream.Pos) error {
	if pos.PostApplyChecksum != ltx.ChecksumFlag {
		return fmt.Errorf("%w: no page leads to %s", stream.ErrPosMismatch, pos)
	}
	if err := t.d.log.Reset(pos); err != nil {
		return err
	}
	t.d.mu.Lock()
	t.d.pos = pos
	t.d.mu.Unlock()
	return nil
}

func (t *nothing) drop() error { return nil }
