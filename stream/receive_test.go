package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/superfly/ltx"
)

// received are transactions of another log, from the first on, and the positions after them.
func received(t *testing.T, n int) (payloads [][]byte, pos []Pos) {
	t.Helper()
	m := newModel(t, LogOptions{})
	r := newRand(t)
	for range n {
		pos = append(pos, m.commitRandom(r))
	}
	return payloadsOf(t, m.log, Pos{}, n), pos
}

// payloadsOf are n transactions of a log.
func payloadsOf(t *testing.T, l *Log, from Pos, n int) (payloads [][]byte) {
	t.Helper()
	in, err := l.Reader(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for range n {
		rec, err := in.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, b[recordHeaderSize:len(b)-recordFooterSize])
	}
	return payloads
}

// anywhere is for Receive, where there is no database.
func anywhere(*Txn) error { return nil }

func receiveAll(l *Log, payloads ...[]byte) error {
	for _, p := range payloads {
		if _, err := l.Receive(bytes.NewReader(p), int64(len(p)), anywhere); err != nil {
			return err
		}
	}
	return nil
}

// Transactions that are received one after another are written at once, and are those that came.
func TestLogReceive(t *testing.T) {
	payloads, pos := received(t, 20)
	for _, segment := range []int64{1, 2 << 10, 0} {
		dir := t.TempDir()
		l := openTestLog(t, dir, LogOptions{SegmentSize: segment})
		if err := errors.Join(receiveAll(l, payloads...), l.Sync(), l.Write()); err != nil {
			t.Fatal(err)
		}
		if dirty := l.active().dirty; !dirty {
			t.Errorf("segments of %d: what was written after a sync needs none", segment)
		}
		l.Publish()
		if got := collect(t, l, Pos{}); !slices.Equal(got, pos) {
			t.Errorf("segments of %d: got %v, want %v", segment, got, pos)
		}
		l.Close()
		again := openTestLog(t, dir, LogOptions{})
		if got := collect(t, again, Pos{}); !slices.Equal(got, pos) {
			t.Errorf("segments of %d, opened again: got %v, want %v", segment, got, pos)
		}
	}
}

// One that is refused leaves those before it, written or not.
func TestLogReceiveRefused(t *testing.T) {
	payloads, pos := received(t, 6)
	l := openTestLog(t, t.TempDir(), LogOptions{})
	if err := receiveAll(l, payloads[:3]...); err != nil {
		t.Fatal(err)
	}
	next := payloads[3]
	no := errors.New("no")
	for name, try := range map[string]func() error{
		"its owner refuses it": func() error {
			_, err := l.Receive(bytes.NewReader(next), int64(len(next)), func(*Txn) error { return no })
			return err
		},
		"it is damaged": func() error {
			bad := bytes.Clone(next)
			bad[len(bad)-30] ^= 1
			return receiveAll(l, bad)
		},
		"it is cut": func() error {
			_, err := l.Receive(bytes.NewReader(next[:200]), int64(len(next)), anywhere)
			return err
		},
		"another is next": func() error { return receiveAll(l, payloads[4]) },
	} {
		if err := try(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := l.Last(); got != pos[2] {
			t.Errorf("%s: got %s, want %s", name, got, pos[2])
		}
	}
	if err := errors.Join(receiveAll(l, payloads[3:]...), l.Write()); err != nil {
		t.Fatal(err)
	}
	l.Publish()
	if got := collect(t, l, Pos{}); !slices.Equal(got, pos) {
		t.Errorf("got %v, want %v", got, pos)
	}
}

// What is not published is withdrawn, written or not.
func TestLogReceiveWithdraw(t *testing.T) {
	payloads, pos := received(t, 6)
	for _, segment := range []int64{1, 0} {
		dir := t.TempDir()
		l := openTestLog(t, dir, LogOptions{SegmentSize: segment})
		if err := errors.Join(receiveAll(l, payloads[0]), l.Write()); err != nil {
			t.Fatal(err)
		}
		l.Publish()
		if err := errors.Join(receiveAll(l, payloads[1:]...), l.Withdraw()); err != nil {
			t.Fatal(err)
		}
		if got := l.Last(); got != pos[0] {
			t.Errorf("segments of %d: got %s, want %s", segment, got, pos[0])
		}
		if err := errors.Join(receiveAll(l, payloads[1:3]...), l.Write()); err != nil {
			t.Fatal(err)
		}
		if fi, err := l.active().file.Stat(); err != nil || fi.Size() != l.active().size {
			t.Errorf("segments of %d: the file has %d bytes (%v), the log %d", segment, fi.Size(), err, l.active().size)
		}
		l.Publish()
		if got := collect(t, l, Pos{}); !slices.Equal(got, pos[:3]) {
			t.Errorf("segments of %d: got %v, want %v", segment, got, pos[:3])
		}
	}
}

// A transaction that is longer than what is written at once comes after those that wait.
func TestLogReceiveLong(t *testing.T) {
	m := newModel(t, LogOptions{})
	r := newRand(t)
	changed := make(map[uint32][]byte)
	m.append(3, map[uint32][]byte{1: randomPage(r), 2: randomPage(r), 3: randomPage(r)})
	for pgno := range uint32(2 * writeBuffer / testPageSize) {
		changed[pgno+1] = randomPage(r)
	}
	long := m.append(len(changed), changed)
	last := m.append(len(changed), map[uint32][]byte{2: randomPage(r)})
	m.log.Publish()
	l := openTestLog(t, t.TempDir(), LogOptions{})
	in, err := m.log.Reader(Pos{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for range 3 {
		rec, err := in.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		n := rec.Data.Size() - recordOverhead
		txn, err := l.Receive(io.NewSectionReader(rec.Data, recordHeaderSize, n), n, anywhere)
		if err != nil {
			t.Fatal(err)
		}
		pages, err := txn.Pages()
		for err == nil {
			_, _, err = pages.Next()
		}
		if err != io.EOF || pages.Post() != rec.Pos {
			t.Errorf("pages of %s: got %v at %s", rec.Pos, err, pages.Post())
		}
	}
	if err := l.Write(); err != nil {
		t.Fatal(err)
	}
	l.Publish()
	if got := collect(t, l, Pos{TXID: 1, PostApplyChecksum: l.segs[0].records[0].post}); !slices.Equal(got, []Pos{long, last}) {
		t.Errorf("got %v, want %s and %s", got, long, last)
	}
	if len(l.rec.buf) != 0 || cap(l.rec.buf) > smallBuffer+ltx.MaxPageSize {
		t.Errorf("the log keeps %d bytes", cap(l.rec.buf))
	}
}

// A transaction can be read after it is written, whatever becomes of the memory that it was in.
func TestLogReceiveWritten(t *testing.T) {
	m := newModel(t, LogOptions{})
	r := newRand(t)
	changed := make(map[uint32][]byte)
	for pgno := range uint32(2 * smallBuffer / testPageSize) {
		changed[pgno+1] = randomPage(r)
	}
	pos := m.append(len(changed), changed)
	m.log.Publish()
	payload := payloadsOf(t, m.log, Pos{}, 1)[0]
	l := openTestLog(t, t.TempDir(), LogOptions{})
	txn, err := l.Receive(bytes.NewReader(payload), int64(len(payload)), anywhere)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Write(); err != nil {
		t.Fatal(err)
	}
	for range 8 { // logs that take the memory
		other := openTestLog(t, t.TempDir(), LogOptions{})
		if err := other.beginRecord(); err != nil {
			t.Fatal(err)
		}
		other.rec.Write(make([]byte, 4*smallBuffer))
		defer other.dropRecord(nil)
	}
	pages, err := txn.Pages()
	for err == nil {
		var pgno uint32
		var data []byte
		if pgno, data, err = pages.Next(); err == nil && !bytes.Equal(data, changed[pgno]) {
			t.Errorf("page %d is another", pgno)
		}
	}
	if err != io.EOF || pages.Post() != pos {
		t.Errorf("got %v at %s, want the end at %s", err, pages.Post(), pos)
	}
}
