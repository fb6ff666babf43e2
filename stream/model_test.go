package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/superfly/ltx"
)

const testPageSize = 512

// testFork is where the histories of tests branch off.
var testFork = Pos{TXID: 1, PostApplyChecksum: 1 << 63}

// model is a database held in memory: the obvious Database and Replica, against
// which a server and a follower are tested.
type model struct {
	t   testing.TB
	log *Log

	mu            sync.Mutex
	pages         [][]byte // by page number, from 1
	sums          *Sums
	via           []string
	heard         Pos
	lag, heardLag time.Duration
	up            bool
	err           error         // of the last SetConnected
	failed        int           // how many there were
	moved         chan struct{} // closed and replaced when the above changes
	deltas        int           // snapshots and deltas completed
	took          int           // pages that came in them

	standing atomic.Pointer[Standing] // the last that was told

	onPage  func()                 // called in Snapshot before each page, unlocked
	onApply func(p []byte) []byte  // garbles a page that is applied
	asked   func(h SnapshotHeader) // tells of each BeginSnapshot
	doubt   error                  // what Heard says; mu
}

func newModel(t testing.TB, opt LogOptions) *model {
	t.Helper()
	return &model{t: t, log: openTestLog(t, t.TempDir(), opt), sums: NewSums(testPageSize), moved: make(chan struct{})}
}

func openTestLog(t testing.TB, path string, opt LogOptions) *Log {
	t.Helper()
	dir, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	opt.Logger = testLogger(t)
	l, err := OpenLog(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("close log: %v", err)
		}
		dir.Close()
	})
	return l
}

func testLogger(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return slog.New(slog.DiscardHandler)
}

// change notes under mu that something waited for may have come.
func (m *model) change() {
	close(m.moved)
	m.moved = make(chan struct{})
}

// wait returns when ok, called under mu, does.
func (m *model) wait(what string, ok func() bool) {
	m.t.Helper()
	timeout := time.After(time.Minute)
	for {
		m.mu.Lock()
		done, moved, pos, err := ok(), m.moved, m.log.Last(), m.err
		m.mu.Unlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-timeout:
			m.t.Fatalf("timed out waiting for %s; at %s, last error: %v", what, pos, err)
		}
	}
}

func (m *model) waitPos(p Pos) {
	m.t.Helper()
	m.wait("position "+p.String(), func() bool { return m.log.Published() == p })
}

// equal fails unless both models hold the same pages, which have the sum that
// their position says.
func (m *model) equal(want *model) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	want.mu.Lock()
	defer want.mu.Unlock()
	if got, want := m.log.Published(), want.log.Published(); got != want {
		m.t.Errorf("got position %s, want %s", got, want)
	}
	if got, want := m.log.ID(), want.log.ID(); got != want {
		m.t.Errorf("got identity %s, want %s", got, want)
	}
	if len(m.pages) != len(want.pages) {
		m.t.Fatalf("got %d pages, want %d", len(m.pages), len(want.pages))
	}
	sum := ltx.ChecksumFlag
	for i, p := range m.pages {
		if !bytes.Equal(p, want.pages[i]) {
			m.t.Errorf("page %d differs", i+1)
		}
		sum = ltx.ChecksumFlag | (sum ^ ltx.ChecksumPage(uint32(i+1), p))
	}
	if got := m.log.Published().PostApplyChecksum; len(m.pages) > 0 && got != sum {
		m.t.Errorf("got rolling checksum %s, want %s", got, sum)
	}
}

func (m *model) header(size int) ltx.Header {
	last := m.log.Last()
	return ltx.Header{
		Version: ltx.Version, PageSize: testPageSize, Commit: uint32(size), MinTXID: last.TXID + 1, MaxTXID: last.TXID + 1,
		Timestamp: time.Now().UnixMilli(), PreApplyChecksum: last.PostApplyChecksum,
	}
}

// append commits pages, where size becomes the database's, without publishing.
func (m *model) append(size int, changed map[uint32][]byte) Pos {
	m.t.Helper()
	w, err := m.log.Begin(m.header(size))
	if err != nil {
		m.t.Fatal(err)
	}
	for pgno := uint32(1); pgno <= uint32(size); pgno++ {
		if p, ok := changed[pgno]; ok {
			if err := w.WritePage(pgno, p); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	m.set(size, changed)
	pos, err := w.Commit(m.sums.Total())
	if err != nil {
		m.t.Fatal(err)
	}
	return pos
}

func (m *model) set(size int, changed map[uint32][]byte) {
	for pgno, p := range changed {
		for int(pgno) > len(m.pages) {
			m.pages = append(m.pages, nil)
		}
		m.pages[pgno-1] = p
		m.sums.Set(pgno, PageSum(pgno, p))
	}
	m.pages = m.pages[:size]
	m.sums.Truncate(uint32(size))
}

// commit commits and publishes.
func (m *model) commit(size int, changed map[uint32][]byte) Pos {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	pos := m.append(size, changed)
	m.log.Publish()
	m.change()
	return pos
}

// commitRandom commits a few pages; now and then the database shrinks.
func (m *model) commitRandom(r *rand.Rand) Pos {
	m.t.Helper()
	m.mu.Lock()
	size := len(m.pages)
	m.mu.Unlock()
	changed := make(map[uint32][]byte)
	grow := r.IntN(3)
	if size == 0 {
		grow = 4
	} else if r.IntN(8) == 0 && size > 3 {
		size, grow = size-2, 0
	}
	for i := range grow {
		changed[uint32(size+i+1)] = randomPage(r)
	}
	size += grow
	for range 3 {
		changed[1+uint32(r.IntN(size))] = randomPage(r)
	}
	return m.commit(size, changed)
}

// randomPage is half noise, half zeros.
func randomPage(r *rand.Rand) []byte {
	p := make([]byte, testPageSize)
	for i := range p[:testPageSize/2] {
		p[i] = byte(r.Uint32())
	}
	return p
}

func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func (m *model) Log() *Log { return m.log }

func (m *model) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Status{Path: "/data/db", Role: RolePrimary, ID: m.log.ID(), Pos: m.log.Published(), PageSize: testPageSize, Size: m.sums.Len()}
}

func (m *model) Snapshot(ctx context.Context, have *Sums, begin func(SnapshotHeader) error, page func(uint32, []byte) error) (Pos, error) {
	m.mu.Lock()
	h := SnapshotHeader{Pos: m.log.Published(), PageSize: testPageSize, Size: m.sums.Len()}
	m.mu.Unlock()
	if err := begin(h); err != nil {
		return Pos{}, err
	}
	for pgno := uint32(1); pgno <= h.Size; pgno++ {
		if m.onPage != nil {
			m.onPage()
		}
		if err := ctx.Err(); err != nil {
			return Pos{}, err
		}
		m.mu.Lock()
		var p []byte
		if pgno <= m.sums.Len() && (have == nil || have.Page(pgno) != m.sums.Page(pgno)) {
			p = m.pages[pgno-1]
		}
		m.mu.Unlock()
		if p != nil {
			if err := page(pgno, p); err != nil {
				return Pos{}, err
			}
		}
	}
	return m.log.Published(), nil
}

func (m *model) Pos() (string, Pos) { return m.log.ID(), m.log.Last() }

func (m *model) Sums() *Sums {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sums.Len() == 0 {
		return nil
	}
	return m.sums.Clone()
}

func (m *model) Adopt(_ context.Context, l Lineage, via []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if own := m.log.Lineage(); m.sums != nil && m.log.Last() != (Pos{}) && !l.Follows(own.ID, m.log.Last()) {
		return fmt.Errorf("%w: %s", ErrOtherDatabase, own.ID)
	}
	m.via = via
	return m.log.Adopt(l)
}

func (m *model) Via() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.via
}

func (m *model) Apply(_ context.Context, payload io.Reader, n int64, more More) error {
	m.mu.Lock()
	at := m.pages
	m.mu.Unlock()
	at, err := m.receive(at, payload, n)
	for err == nil {
		var ok bool
		if n, ok, err = more(); err != nil || !ok {
			break
		}
		at, err = m.receive(at, payload, n)
	}
	return errors.Join(err, m.publish(at))
}

// receive returns what a transaction makes of the pages, or those where it fails.
func (m *model) receive(at [][]byte, payload io.Reader, n int64) ([][]byte, error) {
	t, err := m.log.Receive(payload, n, func(*Txn) error { return nil })
	if err != nil {
		return at, err
	}
	pages, err := t.Pages()
	if err != nil {
		return at, err
	}
	after := &modelSnapshot{m: m, pages: slices.Clone(at)}
	if err := after.apply(pages, m.onApply); err != nil {
		return at, err
	}
	if after.sums().Total() != t.Post().PostApplyChecksum {
		return m.pages, errors.Join(ErrPosMismatch, m.log.Withdraw())
	}
	return after.pages, nil
}

// publish shows the pages, to which what was received has led.
func (m *model) publish(pages [][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pages, m.sums = pages, (&modelSnapshot{m: m, pages: pages}).sums()
	err := m.log.Write()
	m.log.Publish()
	m.change()
	return err
}

func (m *model) Lag() time.Duration { return m.lag }

func (m *model) Heard(h Heartbeat) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard, m.heardLag = h.Pos, h.Lag
	if d := time.Since(h.At); d < 0 || d > time.Minute {
		m.t.Errorf("heard a clock %s ago", d)
	}
	m.change()
	return m.doubt
}

// Told takes no lock: it comes also while a transaction is applied.
func (m *model) Told(s Standing, _ time.Time) { m.standing.Store(&s) }

func (m *model) SetConnected(up bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.up, m.err = up, err
	if err != nil {
		m.failed++
	}
	m.change()
}

func (m *model) BeginSnapshot(_ context.Context, h SnapshotHeader) (SnapshotWriter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked != nil {
		m.asked(h)
	}
	s := &modelSnapshot{m: m, pages: append([][]byte(nil), m.pages...)}
	s.resize(h.Size)
	return s, nil
}

// modelSnapshot is a state that a model may come to.
type modelSnapshot struct {
	m     *model
	pages [][]byte
	took  int
}

func (s *modelSnapshot) resize(n uint32) {
	for uint32(len(s.pages)) < n {
		s.pages = append(s.pages, nil)
	}
	s.pages = s.pages[:n]
}

func (s *modelSnapshot) sums() *Sums {
	sums := NewSums(testPageSize)
	for i, p := range s.pages {
		sums.Set(uint32(i+1), PageSum(uint32(i+1), p))
	}
	return sums
}

func (s *modelSnapshot) WritePage(pgno uint32, data []byte) error {
	if pgno > uint32(len(s.pages)) {
		return fmt.Errorf("page %d of %d", pgno, len(s.pages))
	}
	s.pages[pgno-1] = bytes.Clone(data)
	s.took++
	return nil
}

func (s *modelSnapshot) Apply(payload io.Reader, n int64) error {
	t, err := NewTxnReader(payload, n)
	if err != nil {
		return err
	}
	return s.apply(t, nil)
}

func (s *modelSnapshot) apply(t *TxnReader, garble func([]byte) []byte) error {
	s.resize(t.Header().Commit)
	for {
		pgno, data, err := t.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		data = bytes.Clone(data)
		if garble != nil {
			data = garble(data)
		}
		s.pages[pgno-1] = data
	}
}

func (s *modelSnapshot) Commit(_ context.Context, until Pos) error {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	sums := s.sums()
	if sums.Total() != until.PostApplyChecksum {
		return ErrPosMismatch
	}
	if err := m.log.Reset(until); err != nil {
		return err
	}
	m.pages, m.sums = s.pages, sums
	m.deltas++
	m.took += s.took
	m.change()
	return nil
}

func (s *modelSnapshot) Abort() error { return nil }
