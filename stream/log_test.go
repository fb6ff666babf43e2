package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/superfly/ltx"
)

// openModel begins a model whose log is in dir.
func openModel(t testing.TB, dir string, opt LogOptions) *model {
	t.Helper()
	return &model{t: t, log: openTestLog(t, dir, opt), sums: NewSums(testPageSize), moved: make(chan struct{})}
}

// collect reads the positions of all records that are published after from.
func collect(t testing.TB, l *Log, from Pos) []Pos {
	t.Helper()
	r, err := l.Reader(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []Pos
	for r.Pos() != l.Published() {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		checkRecord(t, rec)
		all = append(all, rec.Pos)
	}
	return all
}

// checkRecord decodes a record as this package and as ltx do.
func checkRecord(t testing.TB, rec RawRecord) {
	t.Helper()
	r := recordReader{r: rec.Data}
	typ, n, err := r.next()
	if err != nil || typ != recordTxn {
		t.Fatalf("record %q at %s: %v", typ, rec.Pos, err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(&r, b); err != nil {
		t.Fatal(err)
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	dec := ltx.NewDecoder(strings.NewReader(string(b)))
	if err := dec.Verify(); err != nil {
		t.Fatalf("ltx at %s: %v", rec.Pos, err)
	}
	if dec.PostApplyPos() != rec.Pos {
		t.Fatalf("got %s from ltx, want %s", dec.PostApplyPos(), rec.Pos)
	}
}

func TestLogReopen(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, LogOptions{SegmentSize: 4000})
	r := newRand(t)
	want := []Pos{{}}
	for range 40 {
		want = append(want, m.commitRandom(r))
	}
	check := func(l *Log) {
		t.Helper()
		got := append([]Pos{l.First()}, collect(t, l, l.First())...)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for i, p := range want {
			if !l.Contains(p) || l.Contains(ltx.NewPos(p.TXID, p.PostApplyChecksum+1)) {
				t.Errorf("Contains(%s) is wrong", p)
			}
			at, h, ok := l.Find(p.PostApplyChecksum)
			if at != p || !ok || i > 0 && h.MaxTXID != p.TXID {
				t.Errorf("Find(%s) = %s, %v, %v", p, at, h, ok)
			}
		}
	}
	check(m.log)
	id := m.log.ID()
	if err := errors.Join(m.log.Sync(), m.log.Close()); err != nil {
		t.Fatal(err)
	}
	l := openTestLog(t, dir, LogOptions{})
	check(l)
	if l.ID() != id {
		t.Errorf("got identity %s, want %s", l.ID(), id)
	}
	if n := len(glob(t, dir, "log-*")); n < 5 {
		t.Errorf("got %d segments, want several", n)
	}
	if bad := glob(t, dir, "*.bad"); len(bad) > 0 {
		t.Errorf("set aside without need: %v", bad)
	}
}

func glob(t testing.TB, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// sample writes a log of one segment and returns the segment's path, its
// contents, and the positions.
func sample(t testing.TB, n int) (dir, path string, contents []byte, pos []Pos) {
	t.Helper()
	dir = t.TempDir()
	m := openModel(t, dir, LogOptions{})
	pos = []Pos{{}}
	r := newRand(t)
	for range n {
		pos = append(pos, m.commitRandom(r))
	}
	if err := m.log.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, segmentName(Pos{}))
	contents, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir, path, contents, pos
}

// offsets returns where records begin, and the end.
func offsets(t testing.TB, contents []byte) []int64 {
	t.Helper()
	s, err := scanSegment(strings.NewReader(string(contents)), int64(len(contents)))
	if err != nil {
		t.Fatal(err)
	}
	var all []int64
	for _, r := range s.records {
		all = append(all, r.offset)
	}
	return append(all, s.size)
}

// reopenWith opens a log whose one segment has the given contents, and closes it.
func reopenWith(t testing.TB, dir, path string, contents []byte) (last Pos, bad []byte) {
	t.Helper()
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		t.Fatal(err)
	}
	l := openTestLog(t, dir, LogOptions{})
	last = l.Last()
	collect(t, l, l.First())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range glob(t, dir, "*.bad") {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		bad = append(bad, b...)
		os.Remove(name)
	}
	return last, bad
}

// A record cut off at any byte is as if it had not been written, and its bytes
// are kept.
func TestLogTornTail(t *testing.T) {
	dir, path, contents, pos := sample(t, 3)
	off := offsets(t, contents)
	for end := off[2]; end < off[3]; end++ {
		last, bad := reopenWith(t, dir, path, contents[:end])
		if last != pos[2] {
			t.Fatalf("cut at %d: got %s, want %s", end, last, pos[2])
		}
		if string(bad) != string(contents[off[2]:end]) {
			t.Fatalf("cut at %d: %d bytes set aside, want %d", end, len(bad), end-off[2])
		}
	}
	if last, bad := reopenWith(t, dir, path, contents); last != pos[3] || bad != nil {
		t.Fatalf("whole: got %s and %d bytes set aside", last, len(bad))
	}
}

// A log goes on after a tail was set aside.
func TestLogAppendAfterTornTail(t *testing.T) {
	dir, path, contents, pos := sample(t, 3)
	os.WriteFile(path, contents[:len(contents)-7], 0o600)
	l := openTestLog(t, dir, LogOptions{})
	if l.Last() != pos[2] {
		t.Fatalf("got %s, want %s", l.Last(), pos[2])
	}
	w, err := l.Begin(ltx.Header{Version: ltx.Version, PageSize: testPageSize, MinTXID: 3, MaxTXID: 3, PreApplyChecksum: pos[2].PostApplyChecksum})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(ltx.ChecksumFlag); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = openTestLog(t, dir, LogOptions{})
	if want := ltx.NewPos(3, ltx.ChecksumFlag); l.Last() != want {
		t.Fatalf("got %s, want %s", l.Last(), want)
	}
}

// A flipped bit of a segment does not go unseen.
func TestLogBitFlips(t *testing.T) {
	dir, path, contents, pos := sample(t, 3)
	off := offsets(t, contents)
	for i := range contents {
		if i > segmentHeaderSize+recordHeaderSize+ltx.HeaderSize && i%11 != 0 {
			continue // all bits would take long
		}
		flipped := append([]byte(nil), contents...)
		flipped[i] ^= 1 << (i % 8)
		last, bad := reopenWith(t, dir, path, flipped)
		var want Pos // where the header is hit
		var from int64
		for n, at := range off {
			if int64(i) >= at {
				want, from = pos[n], at
			}
		}
		if last != want {
			t.Fatalf("bit flipped at %d: got %s, want %s", i, last, want)
		}
		if string(bad) != string(flipped[from:]) {
			t.Fatalf("bit flipped at %d: %d bytes set aside, want %d", i, len(bad), len(flipped)-int(from))
		}
	}
}

// Damage in an older segment leaves the segments after it.
func TestLogDamagedOldSegment(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, LogOptions{SegmentSize: 3000})
	r := newRand(t)
	for range 20 {
		m.commitRandom(r)
	}
	last := m.log.Last()
	m.log.Close()
	names := glob(t, dir, "log-*")
	b, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	os.WriteFile(names[1], b, 0o600)
	l := openTestLog(t, dir, LogOptions{})
	if l.Last() != last {
		t.Errorf("got last %s, want %s", l.Last(), last)
	}
	if got, want := segmentName(l.First()), filepath.Base(names[2]); got != want {
		t.Errorf("log begins in %s, want %s", got, want)
	}
	if _, err := l.Reader(Pos{}); !errors.Is(err, ErrNotInLog) {
		t.Errorf("Reader at the old start: got %v, want ErrNotInLog", err)
	}
	collect(t, l, l.First())
	if bad := glob(t, dir, "*.bad"); len(bad) != 3 { // two segments and the tail of one
		t.Errorf("set aside: %v, want 3 files", bad)
	}
}

func TestLogForeignSegment(t *testing.T) {
	dir, _, _, _ := sample(t, 3)
	other := identity{Lineage: Lineage{ID: strings.Repeat("ab", 16)}}
	os.WriteFile(filepath.Join(dir, idFile), other.encode(), 0o600)
	l := openTestLog(t, dir, LogOptions{})
	if l.Last() != (Pos{}) || len(glob(t, dir, "*.bad")) != 1 {
		t.Errorf("got %s, set aside %v; want an empty log", l.Last(), glob(t, dir, "*.bad"))
	}
}

func TestLogLostIdentity(t *testing.T) {
	dir, _, _, pos := sample(t, 3)
	b, _ := os.ReadFile(filepath.Join(dir, idFile))
	want, err := parseIdentity(b)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, idFile), nil, 0o600)
	l := openTestLog(t, dir, LogOptions{})
	if l.ID() != want.ID || l.Last() != pos[3] {
		t.Errorf("got identity %q at %s, want %q at %s", l.ID(), l.Last(), want.ID, pos[3])
	}
}

func TestLogWithdraw(t *testing.T) {
	m := newModel(t, LogOptions{SegmentSize: 1}) // each record has its segment
	r := newRand(t)
	m.commitRandom(r)
	want := m.commitRandom(r)
	pages := map[uint32][]byte{1: randomPage(r)}
	m.append(len(m.pages), pages)
	m.append(len(m.pages), pages)
	if got := m.log.Published(); got != want {
		t.Fatalf("got %s published, want %s", got, want)
	}
	if err := m.log.Withdraw(); err != nil {
		t.Fatal(err)
	}
	if got := m.log.Last(); got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	m.sums.Set(1, PageSum(1, randomPage(r)))
	m.append(len(m.pages), map[uint32][]byte{1: randomPage(r)})
	m.log.Publish()
	if got := collect(t, m.log, want); len(got) != 1 || got[0] != m.log.Last() {
		t.Fatalf("got %v after the withdrawal, want %s", got, m.log.Last())
	}
}

func TestLogAbort(t *testing.T) {
	m := newModel(t, LogOptions{})
	r := newRand(t)
	want := m.commitRandom(r)
	w, err := m.log.Begin(m.header(2000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.log.Begin(m.header(1)); !errors.Is(err, ErrBusy) {
		t.Errorf("second Begin: got %v, want ErrBusy", err)
	}
	if err := m.log.Withdraw(); !errors.Is(err, ErrBusy) {
		t.Errorf("Withdraw: got %v, want ErrBusy", err)
	}
	for pgno := range uint32(2000) { // more than the buffer takes
		if err := w.WritePage(pgno+1, randomPage(r)); err != nil {
			t.Fatal(err)
		}
	}
	w.Abort()
	w.Abort()
	if _, err := w.Commit(ltx.ChecksumFlag); err == nil {
		t.Error("Commit after Abort: no error")
	}
	if got := m.log.Last(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	m.commitRandom(r)
	collect(t, m.log, Pos{})
}

func TestLogRefusesWrongTransactions(t *testing.T) {
	m := newModel(t, LogOptions{})
	r := newRand(t)
	m.commitRandom(r)
	for name, change := range map[string]func(h *ltx.Header){
		"txid":      func(h *ltx.Header) { h.MinTXID, h.MaxTXID = 3, 3 },
		"range":     func(h *ltx.Header) { h.MaxTXID++ },
		"checksum":  func(h *ltx.Header) { h.PreApplyChecksum ^= 1 },
		"page size": func(h *ltx.Header) { h.PageSize = 3 },
		"flags":     func(h *ltx.Header) { h.Flags, h.PreApplyChecksum = ltx.HeaderFlagNoChecksum, 0 },
	} {
		h := m.header(4)
		change(&h)
		if w, err := m.log.Begin(h); err == nil {
			t.Errorf("%s: no error", name)
			w.Abort()
		}
	}
	for name, pages := range map[string][]uint32{"descending": {2, 1}, "twice": {2, 2}, "beyond": {5}, "zero": {0}} {
		w, err := m.log.Begin(m.header(4))
		if err != nil {
			t.Fatal(err)
		}
		for _, pgno := range pages {
			err = errors.Join(err, w.WritePage(pgno, randomPage(r)))
		}
		if err == nil {
			t.Errorf("pages %s: no error", name)
		}
		w.Abort()
	}
}

func TestLogTruncateAfter(t *testing.T) {
	for _, size := range []int64{1, 3000, 1 << 20} {
		dir := t.TempDir()
		m := openModel(t, dir, LogOptions{SegmentSize: size})
		r := newRand(t)
		pos := []Pos{{}}
		for range 12 {
			pos = append(pos, m.commitRandom(r))
		}
		reader, err := m.log.Reader(pos[11])
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		if err := m.log.TruncateAfter(ltx.NewPos(5, 1)); !errors.Is(err, ErrNotInLog) {
			t.Fatalf("got %v, want ErrNotInLog", err)
		}
		for _, n := range []int{9, 5, 0} {
			if err := m.log.TruncateAfter(pos[n]); err != nil {
				t.Fatal(err)
			}
			if got := collect(t, m.log, Pos{}); len(got) != n || m.log.Last() != pos[n] || m.log.Published() != pos[n] {
				t.Fatalf("segments of %d: got %d records up to %s, want %d", size, len(got), m.log.Last(), n)
			}
		}
		if _, err := reader.Next(t.Context()); !errors.Is(err, ErrNotInLog) {
			t.Errorf("reader after the end: got %v, want ErrNotInLog", err)
		}
		if len(glob(t, dir, "*.bad")) == 0 {
			t.Error("nothing was set aside")
		}
		m.log.Close()
		if l := openTestLog(t, dir, LogOptions{}); l.Last() != (Pos{}) {
			t.Errorf("reopened: got %s, want the zero position", l.Last())
		}
	}
}

func TestLogReset(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, LogOptions{SegmentSize: 3000})
	r := newRand(t)
	for range 12 {
		m.commitRandom(r)
	}
	old := m.log.Last()
	reader, err := m.log.Reader(old)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, p := range []Pos{ltx.NewPos(100, ltx.ChecksumFlag|7), old, old, {}} {
		if err := m.log.Reset(p); err != nil {
			t.Fatal(err)
		}
		if m.log.First() != p || m.log.Last() != p || m.log.Published() != p {
			t.Errorf("got %s to %s, want %s", m.log.First(), m.log.Last(), p)
		}
	}
	if _, err := reader.Next(t.Context()); !errors.Is(err, ErrNotInLog) {
		t.Errorf("reader: got %v, want ErrNotInLog", err)
	}
	if n := len(glob(t, dir, "*.bad")); n < 3 {
		t.Errorf("got %d files set aside, want all segments", n)
	}
}

// A crash between the steps of a restart leaves the log as it was, or empty.
func TestLogCrashInRestart(t *testing.T) {
	dir, path, _, pos := sample(t, 2)
	os.WriteFile(filepath.Join(dir, newFile), []byte("begun"), 0o600)
	l := openTestLog(t, dir, LogOptions{})
	if l.Last() != pos[2] {
		t.Errorf("before the renames: got %s, want %s", l.Last(), pos[2])
	}
	l.Close()
	id := l.ID()
	os.WriteFile(filepath.Join(dir, newFile), encodeSegmentHeader(id, pos[1]), 0o600)
	os.Rename(path, path+".0.bad")
	l = openTestLog(t, dir, LogOptions{})
	if l.Last() != (Pos{}) || l.ID() != id {
		t.Errorf("between the renames: got %s at %s, want %s at the start", l.ID(), l.Last(), id)
	}
	if left := glob(t, dir, newFile); left != nil {
		t.Errorf("left over: %v", left)
	}
}

func TestLogAdopt(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, LogOptions{})
	last := m.commitRandom(newRand(t))
	if err := m.log.Adopt(Lineage{ID: "nonsense"}); err == nil {
		t.Error("no error for an invalid identity")
	}
	if err := m.log.Adopt(m.log.Lineage()); err != nil || m.log.First() != (Pos{}) {
		t.Errorf("own identity: got %v, log from %s", err, m.log.First())
	}
	id := strings.Repeat("0f", 16)
	if err := m.log.Adopt(Lineage{ID: id}); err != nil {
		t.Fatal(err)
	}
	if m.log.ID() != id || m.log.First() != last || m.log.Last() != last {
		t.Errorf("got %s, %s to %s", m.log.ID(), m.log.First(), m.log.Last())
	}
	m.log.Close()
	if l := openTestLog(t, dir, LogOptions{}); l.ID() != id || l.Last() != last {
		t.Errorf("reopened: got %s at %s, want %s at %s", l.ID(), l.Last(), id, last)
	}
}

// A segment that a reader still needs is kept, up to twice MaxBytes.
func TestLogRetention(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, LogOptions{SegmentSize: 2000, MaxBytes: 10_000})
	r := newRand(t)
	total := func() (n int64) {
		for _, name := range glob(t, dir, "log-*") {
			fi, _ := os.Stat(name)
			n += fi.Size()
		}
		return n
	}
	m.commitRandom(r)
	reader, err := m.log.Reader(Pos{})
	if err != nil {
		t.Fatal(err)
	}
	for total() < 15_000 {
		m.commitRandom(r)
	}
	if m.log.First() != (Pos{}) {
		t.Errorf("log begins at %s while a reader is at the start", m.log.First())
	}
	for range 100 {
		m.commitRandom(r)
	}
	if n := total(); n > 25_000 {
		t.Errorf("got %d bytes with a slow reader, want about 20000", n)
	}
	if _, err := reader.Next(t.Context()); !errors.Is(err, ErrNotInLog) {
		t.Errorf("slow reader: got %v, want ErrNotInLog", err)
	}
	reader.Close()
	for range 5 {
		m.commitRandom(r)
	}
	if n := total(); n > 15_000 {
		t.Errorf("got %d bytes without readers, want about 10000", n)
	}
	collect(t, m.log, m.log.First())
}

func TestLogRetentionByAge(t *testing.T) {
	now := time.Now()
	m := newModel(t, LogOptions{SegmentSize: 1, MaxAge: time.Hour, Now: func() time.Time { return now }})
	r := newRand(t)
	for range 10 {
		m.commitRandom(r)
	}
	now = now.Add(2 * time.Hour)
	m.commitRandom(r)
	m.commitRandom(r)
	if got := len(collect(t, m.log, m.log.First())); got > 3 {
		t.Errorf("got %d records, want those of the last hour", got)
	}
}

// What was set aside does not fill the disk.
func TestLogTrimsAside(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, LogOptions{MaxBytes: 5000})
	r := newRand(t)
	for range 20 {
		m.commitRandom(r)
		if err := m.log.Reset(m.log.Last()); err != nil {
			t.Fatal(err)
		}
	}
	var n int64
	for _, name := range glob(t, dir, "*.bad") {
		fi, _ := os.Stat(name)
		n += fi.Size()
	}
	if n == 0 || n > 5000 {
		t.Errorf("got %d bytes set aside, want some, at most 5000", n)
	}
}

func TestLogConcurrentReaders(t *testing.T) {
	m := newModel(t, LogOptions{SegmentSize: 4000})
	const n = 200
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, err := m.log.Reader(Pos{})
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			for i := range TXID(n) {
				rec, err := r.Next(t.Context())
				if err != nil || rec.Pos.TXID != i+1 {
					t.Errorf("got %s, %v, want %d", rec.Pos, err, i+1)
					return
				}
				checkRecord(t, rec)
			}
		})
	}
	r := newRand(t)
	for i := range n {
		m.commitRandom(r)
		if i%50 == 0 {
			if err := m.log.Sync(); err != nil {
				t.Error(err)
			}
		}
	}
	wg.Wait()
}

func TestLogReaderWaits(t *testing.T) {
	m := newModel(t, LogOptions{})
	r, err := m.log.Reader(Pos{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	done := make(chan error)
	go func() {
		_, err := r.Next(t.Context())
		done <- err
	}()
	m.append(1, map[uint32][]byte{1: randomPage(newRand(t))})
	select {
	case err := <-done:
		t.Fatalf("Next returned before Publish: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	waited := make(chan error)
	go func() { waited <- m.log.Wait(t.Context(), 1) }()
	m.log.Publish()
	if err := errors.Join(<-done, <-waited); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := r.Next(t.Context())
		done <- err
	}()
	go func() { waited <- m.log.Wait(t.Context(), 2) }()
	m.log.Close()
	for _, err := range []error{<-done, <-waited} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	r.Close()
}
