package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/superfly/ltx"

	"weir/stream"
)

// ErrOtherHistory says that files are of another database, or of another history of this one.
var ErrOtherHistory = errors.New("it has the transactions of another database, or of another history of this one")

// Export is what the transactions of a database are written to as LTX files, so that together with those that are there
// they lead from a whole database to the newest state.
type Export struct {
	Dir      string // is made where it is missing
	Compact  bool   // all new transactions into one file
	Snapshot bool   // begin with a whole database, also where that is not needed

	// Log opens the log after a position, or with the zero one all of it; see OpenLog.
	Log func(after stream.Pos) (Log, error)

	// Copy writes the database as it is now; see Copy.
	Copy func(*os.File) (stream.SnapshotHeader, error)

	// Progress is called with the number of transactions that are there and of those that there will be.
	Progress func(done, total uint64)

	files []ltxFile // that were there
	log   Log
	out   batch
}

// Exported is what an Export has added.
type Exported struct {
	Snapshot bool // a whole database was needed
	Files    int
	Pos      stream.Pos // of the newest state
}

// Run writes what is new.
func (e *Export) Run(ctx context.Context) (done Exported, err error) {
	if err := os.MkdirAll(e.Dir, 0o777); err != nil {
		return done, err
	}
	if e.files, err = listFiles(e.Dir); err != nil {
		return done, err
	}
	e.out = batch{dir: e.Dir}
	defer func() {
		err = errors.Join(err, e.out.drop())
		if e.log != nil {
			err = errors.Join(err, e.log.Close())
		}
	}()
	start, err := e.start()
	if err != nil {
		return done, err
	}
	if e.log == nil || e.Snapshot {
		done.Snapshot, done.Files = true, 1
		if start, err = e.base(); err != nil {
			return done, err
		}
	}
	n, pos, err := e.transactions(ctx, start)
	if err != nil {
		return done, err
	}
	done.Files, done.Pos = done.Files+n, pos
	return done, e.out.commit()
}

// start opens the log where it leads on from what is there. It opens none where it does not.
func (e *Export) start() (stream.Pos, error) {
	if len(e.files) == 0 {
		return e.whole()
	}
	last, err := newest(e.files).describe()
	if err != nil {
		return stream.Pos{}, fmt.Errorf("%w (remove it to have its transactions exported again)", err)
	}
	e.log, err = e.Log(last.Pos())
	if !errors.Is(err, stream.ErrNotInLog) {
		return last.Pos(), err
	}
	all, err := e.Log(stream.Pos{})
	if err != nil {
		return stream.Pos{}, err
	}
	defer all.Close()
	if all.First().TXID <= last.Max {
		return stream.Pos{}, fmt.Errorf("%s: %w: it ends at %s, the log has %s to %s", e.Dir, ErrOtherHistory, last.Pos(), all.First(), all.Last())
	}
	return stream.Pos{}, nil
}

// whole opens the log if it has all there ever was.
func (e *Export) whole() (stream.Pos, error) {
	l, err := e.Log(stream.Pos{})
	if err != nil {
		return stream.Pos{}, err
	}
	if l.First() != (stream.Pos{}) || l.Last() == (stream.Pos{}) {
		return stream.Pos{}, l.Close()
	}
	e.log = l
	return stream.Pos{}, nil
}

// base writes a file with all pages, and opens the log after it.
func (e *Export) base() (stream.Pos, error) {
	tmp, err := Temporary()
	if err != nil {
		return stream.Pos{}, err
	}
	defer tmp.Close()
	h, err := e.Copy(tmp.File)
	if err != nil {
		return h.Pos, err
	}
	m := newImage(tmp.File)
	if err := m.load(h); err != nil {
		return h.Pos, err
	}
	now := time.Now()
	err = e.write(stream.TXID(1), h.Pos.TXID, now, func(w io.Writer) error { return m.encode(w, stream.Pos{}, now) })
	if err != nil {
		return h.Pos, err
	}
	if e.log != nil {
		err = e.log.Close()
	}
	if err == nil {
		e.log, err = e.Log(h.Pos)
	}
	return h.Pos, err
}

// load reads the pages that are in the image's file.
func (m *image) load(h stream.SnapshotHeader) error {
	m.sums, m.size, m.pos = stream.NewSums(h.PageSize), h.Size, h.Pos
	page := make([]byte, h.PageSize)
	for pgno := uint32(1); pgno <= h.Size; pgno++ {
		if _, err := m.file.ReadAt(page, int64(pgno-1)*int64(h.PageSize)); err != nil {
			return err
		}
		m.sums.Set(pgno, stream.PageSum(pgno, page))
	}
	return m.check()
}

// transactions writes those that the log has after start.
func (e *Export) transactions(ctx context.Context, start stream.Pos) (n int, end stream.Pos, err error) {
	if e.Compact {
		return e.compacted(ctx, start)
	}
	total := uint64(e.log.Last().TXID - start.TXID)
	for end = start; ; n++ {
		payload, size, err := next(ctx, e.log)
		if err == io.EOF {
			return n, end, nil
		}
		if err != nil {
			return n, end, err
		}
		if end, err = e.transaction(payload, size, end); err != nil {
			return n, end, err
		}
		e.Progress(uint64(n+1), total)
	}
}

// transaction writes one as it is in the log, and verifies it.
func (e *Export) transaction(payload io.Reader, size int64, pre stream.Pos) (stream.Pos, error) {
	o, err := e.out.add(ltx.FormatFilename(pre.TXID+1, pre.TXID+1))
	if err != nil {
		return pre, err
	}
	t, err := describe(io.TeeReader(payload, o), size)
	if err == nil && (t.Min != pre.TXID+1 || t.Pre != pre.PostApplyChecksum) {
		err = fmt.Errorf("transaction %s is where %s should be: %w", t.Min, pre.TXID+1, stream.ErrPosMismatch)
	}
	if err != nil {
		return pre, err
	}
	return t.Pos(), o.settle(t.Time)
}

// compacted writes those after start as one.
func (e *Export) compacted(ctx context.Context, start stream.Pos) (n int, end stream.Pos, err error) {
	tmp, err := Temporary()
	if err != nil {
		return 0, start, err
	}
	defer tmp.Close()
	m := newImage(tmp.File)
	m.pos = start
	var at int64
	total := uint64(e.log.Last().TXID - start.TXID)
	for {
		payload, size, err := next(ctx, e.log)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, start, err
		}
		t, err := stream.NewTxnReader(buffered(payload), size)
		if err != nil {
			return 0, start, err
		}
		if err := m.apply(t); err != nil {
			return 0, start, err
		}
		at = t.Header().Timestamp
		e.Progress(uint64(m.pos.TXID-start.TXID), total)
	}
	if m.pos == start {
		return 0, start, nil
	}
	when := time.UnixMilli(at)
	err = e.write(start.TXID+1, m.pos.TXID, when, func(w io.Writer) error { return m.encode(w, start, when) })
	return 1, m.pos, err
}

func (e *Export) write(first, last stream.TXID, at time.Time, encode func(io.Writer) error) error {
	o, err := e.out.add(ltx.FormatFilename(first, last))
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(o, 64<<10)
	if err := errors.Join(encode(w), w.Flush()); err != nil {
		return err
	}
	return o.settle(at)
}

// settle closes a file of a batch. Others take the time of a file for that of its transactions.
func (o *Output) settle(at time.Time) error {
	return errors.Join(o.File.Close(), os.Chtimes(o.Name(), at, at))
}
