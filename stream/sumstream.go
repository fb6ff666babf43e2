package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/superfly/ltx"
)

// ErrDamaged says that a page on disk is not what was written there.
var ErrDamaged = errors.New("damaged page")

// sumsAtOnce is how many checksums are sent in a record.
const sumsAtOnce = 512

// sumSize is that of a page number with its checksum, in bytes.
const sumSize = 4 + 8

// pageSum sends the checksum of a page in the place of the page.
func (f *follower) pageSum(pgno uint32, data []byte) error {
	f.sums = binary.BigEndian.AppendUint32(f.sums, pgno)
	f.sums = binary.BigEndian.AppendUint64(f.sums, uint64(PageSum(pgno, data)))
	if len(f.sums) < sumsAtOnce*sumSize {
		return nil
	}
	return f.flushSums()
}

func (f *follower) flushSums() error {
	if len(f.sums) == 0 {
		return nil
	}
	err := f.makeRoom(recordOverhead + len(f.sums))
	if err == nil {
		err = f.record(recordSums, f.sums)
	}
	f.sums = f.sums[:0]
	return err
}

// pageSums answers with a snapshot's page checksums.
func (f *follower) pageSums() error {
	reader, err := f.snapshot(nil, f.pageSum)
	if reader != nil {
		defer reader.Close()
	}
	if err != nil && !f.conn.begun() {
		return refuse(http.StatusServiceUnavailable, "%v", err)
	}
	if err != nil {
		text := err.Error()
		if errors.Is(err, ErrDamaged) {
			text = damagedPrefix + text
		}
		err = f.record(recordFail, []byte(text[:min(len(text), failMax)]))
	}
	return errors.Join(err, f.flush())
}

// damagedPrefix begins the text of a fail record that is an ErrDamaged.
const damagedPrefix = "damaged: "

// tableAt is the page checksums of a database at a position.
type tableAt struct {
	sums *Sums
	size uint32 // pages of the database as a snapshot of it began
	pos  Pos
}

// begin empties the table for a snapshot.
func (t *tableAt) begin(h SnapshotHeader) {
	t.sums, t.size, t.pos = NewSums(h.PageSize), h.Size, h.Pos
}

// apply applies a transaction of n bytes.
func (t *tableAt) apply(payload io.Reader, n int64) error {
	r, err := NewTxnReader(payload, n)
	if err != nil {
		return err
	}
	if r.Pre() != t.pos {
		return fmt.Errorf("transaction %s follows %s, not %s: %w", r.h.MinTXID, r.Pre(), t.pos, ErrPosMismatch)
	}
	if r.h.PageSize != t.sums.PageSize() { // has all pages
		t.sums = NewSums(r.h.PageSize)
	}
	for {
		pgno, data, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		t.sums.Set(pgno, PageSum(pgno, data))
	}
	t.sums.Truncate(r.h.Commit)
	t.pos = r.Post()
	return nil
}

// AskSums has the server at base read all pages of its database at path, and returns their checksums, and what the
// position is then. progress is called with how many pages were read, of how many. ErrDamaged says that one of them is
// not what was written.
func AskSums(ctx context.Context, base, path string, opt FollowOptions, progress func(done, total uint32)) (*Sums, Pos, error) {
	u, err := streamURL(base)
	if err != nil {
		return nil, Pos{}, err
	}
	u.RawQuery = url.Values{"path": {path}, "sums": {"1"}}.Encode()
	l := new(LogStream)
	if err := l.open(ctx, u.String(), opt); err != nil {
		return nil, Pos{}, err
	}
	defer l.Close()
	t := new(tableAt)
	for done := false; !done && err == nil; {
		done, err = l.sumsRecord(t)
		if t.sums != nil {
			progress(min(t.sums.Len(), t.size), t.size)
		}
	}
	if err != nil {
		return nil, Pos{}, l.dog.explain(l.ctx, err)
	}
	return t.sums, t.pos, nil
}

// sumsRecord takes the next record of a stream of page checksums; done is the last.
func (l *LogStream) sumsRecord(t *tableAt) (done bool, err error) {
	typ, n, err := l.in.next()
	if err != nil {
		return false, short(err)
	}
	if typ == recordTxn && t.sums != nil {
		if err := t.apply(&l.in, n); err != nil {
			return false, err
		}
		return false, l.in.end()
	}
	b, err := l.in.payload(make([]byte, n), n)
	switch {
	case err != nil:
		return false, err
	case typ == recordBeat:
		return false, nil
	case typ == recordHello && t.sums == nil:
		h, err := parseHello(b)
		if err == nil && !h.pages {
			err = errors.New("upstream has no database yet")
		}
		t.begin(h.SnapshotHeader)
		return false, err
	case typ == recordSums && t.sums != nil:
		return false, t.take(b)
	case typ == recordDone && t.sums != nil:
		until, err := parseDone(b)
		if err == nil && until != t.pos {
			err = fmt.Errorf("page checksums end at %s, not at %s: %w", t.pos, until, ErrPosMismatch)
		}
		return true, err
	case typ == recordFail:
		if text, ok := strings.CutPrefix(string(b), damagedPrefix); ok {
			return false, fmt.Errorf("upstream: %w: %q", ErrDamaged, text)
		}
		return false, fmt.Errorf("upstream: %q", b)
	}
	return false, fmt.Errorf("%w: %s record out of place", ErrCorrupt, typ)
}

// take sets the checksums of a record.
func (t *tableAt) take(b []byte) error {
	if len(b)%sumSize != 0 {
		return fmt.Errorf("%w: page checksums of %d bytes", ErrCorrupt, len(b))
	}
	for ; len(b) > 0; b = b[sumSize:] {
		pgno, sum := binary.BigEndian.Uint32(b), Checksum(binary.BigEndian.Uint64(b[4:]))
		if pgno == 0 || pgno > t.size || sum&ltx.ChecksumFlag == 0 {
			return fmt.Errorf("%w: page %d of %d has checksum %s", ErrCorrupt, pgno, t.size, sum)
		}
		t.sums.Set(pgno, sum)
	}
	return nil
}
