package fuse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/superfly/ltx"

	"weir/fuse/internal/capture"
	"weir/stream"
)

// primary is a mounted primary with one database, db.
type primary struct {
	*testing.T
	path   string // of the database, on the mount
	logger *slog.Logger
	mounts *Mounts
}

func mountPrimary(t *testing.T) *primary {
	t.Helper()
	return mountLogged(t, slog.New(slog.NewTextHandler(t.Output(), nil)), nil)
}

// mountLogged mounts a primary, or with an upstream a replica.
func mountLogged(t *testing.T, logger *slog.Logger, upstream *Upstream) *primary {
	t.Helper()
	p := &primary{T: t, path: filepath.Join(t.TempDir(), "db"), logger: logger}
	p.mount(upstream)
	t.Cleanup(func() {
		if p.mounts != nil {
			if err := p.mounts.UnmountLazily(); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

func (p *primary) mount(upstream *Upstream) {
	p.Helper()
	var err error
	p.mounts, err = Mount(p.Context(), Config{Databases: []Database{{p.path, upstream}}, Logger: p.logger, Passthrough: passthrough(), PassAtOnce: true})
	if err != nil {
		p.Fatal(err)
	}
}

// passthrough is on, unless all tests are to run without it.
func passthrough() Passthrough {
	if os.Getenv("WEIR_PASSTHROUGH") == "off" {
		return PassthroughOff
	}
	return PassthroughOn
}

func (p *primary) unmount() {
	p.Helper()
	if err := p.mounts.Unmount(p.Context()); err != nil {
		p.Fatal(err)
	}
	p.mounts = nil
}

func (p *primary) capture() *capture.Database { return p.mounts.dirs[0].captures["db"] }

// sqlite runs SQL in the sqlite3 shell, which must succeed.
func (p *primary) sqlite(sql string) string {
	p.Helper()
	cmd := exec.Command("sqlite3", "-bail", p.path)
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.Fatalf("%s\n%s: %v", sql, out, err)
	}
	return strings.TrimSpace(string(out))
}

// model is a database rebuilt from the log.
type model struct {
	pages map[uint32][]byte
	size  uint32
	pos   stream.Pos
}

// await waits for a transaction that nothing but time makes capture find.
func (p *primary) await(txid stream.TXID) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 5*time.Second)
	defer cancel()
	if err := p.capture().Log().Wait(ctx, txid); err != nil {
		p.Fatalf("wait for %s: %v", txid, err)
	}
}

// replay applies the log's transactions up to its last to m.
func (p *primary) replay(m *model) {
	p.Helper()
	log := p.capture().Log()
	r, err := log.Reader(m.pos)
	if err != nil {
		p.Fatal(err)
	}
	defer r.Close()
	for m.pos != log.Published() {
		ctx, cancel := context.WithTimeout(p.Context(), 5*time.Second)
		rec, err := r.Next(ctx)
		cancel()
		if err != nil {
			p.Fatal(err)
		}
		// A record is a header of 16 bytes, LTX, and a checksum of 4.
		m.apply(p, io.NewSectionReader(rec.Data, 16, rec.Data.Size()-20))
	}
}

func (m *model) apply(p *primary, payload io.Reader) {
	p.Helper()
	dec := ltx.NewDecoder(payload)
	if err := dec.DecodeHeader(); err != nil {
		p.Fatal(err)
	}
	h := dec.Header()
	if h.MinTXID != m.pos.TXID+1 || h.PreApplyChecksum != m.pos.PostApplyChecksum {
		p.Fatalf("transaction %s after %s, want the one after %s", h.MinTXID, h.PreApplyPos(), m.pos)
	}
	buf := make([]byte, h.PageSize)
	for {
		var ph ltx.PageHeader
		err := dec.DecodePage(&ph, buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.Fatal(err)
		}
		m.pages[ph.Pgno] = bytes.Clone(buf)
	}
	if err := dec.Close(); err != nil {
		p.Fatal(err)
	}
	m.size = h.Commit
	maps.DeleteFunc(m.pages, func(pgno uint32, _ []byte) bool { return pgno > m.size })
	sum := stream.Checksum(ltx.ChecksumFlag)
	for pgno, page := range m.pages {
		sum = ltx.ChecksumFlag | (sum ^ ltx.ChecksumPage(pgno, page))
	}
	if m.pos = dec.PostApplyPos(); m.pos.PostApplyChecksum != sum {
		p.Fatalf("after %s: checksum of the replayed pages is %s, want %s", m.pos.TXID, sum, m.pos.PostApplyChecksum)
	}
}

// compare checks that m is what a client of the mount sees.
func (p *primary) compare(m *model) {
	p.Helper()
	file := filepath.Join(p.TempDir(), "model")
	f, err := os.Create(file)
	if err != nil {
		p.Fatal(err)
	}
	for pgno, page := range m.pages {
		if _, err := f.WriteAt(page, int64(pgno-1)*int64(len(page))); err != nil {
			p.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		p.Fatal(err)
	}
	dump := func(path string) string {
		out, err := exec.Command("sqlite3", path, "PRAGMA integrity_check", ".dump").CombinedOutput()
		if err != nil {
			p.Fatalf("dump %s: %v: %s", path, err, out)
		}
		return string(out)
	}
	if got, want := dump(file), dump(p.path); got != want {
		p.Errorf("the log gives\n%.2000s\nwant\n%.2000s", got, want)
	}
}

func newModel() *model { return &model{pages: make(map[uint32][]byte)} }

func TestEveryCommitIsOneTransaction(t *testing.T) {
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST", "WAL"} {
		for _, sync := range []string{"OFF", "NORMAL", "FULL"} {
			t.Run(mode+"/"+sync, func(t *testing.T) {
				p, m := mountPrimary(t), newModel()
				p.sqlite("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
				if mode == "WAL" {
					p.sqlite("PRAGMA journal_mode=WAL") // kept in the database, a transaction of its own
				}
				p.replay(m)
				start := m.pos.TXID
				const n = 300
				var sql strings.Builder
				fmt.Fprintf(&sql, "PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=20;\n", mode, sync)
				for i := range n {
					fmt.Fprintf(&sql, "INSERT INTO t(b) VALUES(hex(randomblob(200))||%d);\n", i)
					fmt.Fprintf(&sql, "BEGIN; DELETE FROM t; ROLLBACK;\n")
				}
				p.sqlite(sql.String())
				p.await(start + n)
				p.replay(m)
				if got := m.pos.TXID - start; got != n {
					t.Errorf("%d transactions in the log, want %d", got, n)
				}
				p.compare(m)
			})
		}
	}
}

func TestFreePagesTakenIntoUse(t *testing.T) {
	p, m := mountPrimary(t), newModel()
	p.sqlite("CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO t SELECT randomblob(3000) FROM n; DELETE FROM t;")
	p.replay(m)
	p.sqlite("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100) INSERT INTO t SELECT randomblob(3000) FROM n;")
	p.sqlite("VACUUM")
	p.replay(m)
	p.compare(m)
}

func TestRemount(t *testing.T) {
	for _, mode := range []string{"DELETE", "WAL"} {
		t.Run(mode, func(t *testing.T) {
			p, m := mountPrimary(t), newModel()
			p.sqlite("PRAGMA journal_mode=" + mode + "; CREATE TABLE t(a); INSERT INTO t VALUES(1)")
			p.replay(m)
			p.unmount()
			p.mount(nil)
			p.sqlite("INSERT INTO t VALUES(2)")
			p.replay(m)
			p.compare(m)
			p.unmount()
			p.sqlite("INSERT INTO t VALUES(3)") // behind weir's back
			p.mount(nil)
			p.replay(m)
			p.compare(m)
		})
	}
}

func TestCopyIntoMount(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	if out, err := exec.Command("sqlite3", src, "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO t SELECT randomblob(3000) FROM n;").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	p, m := mountPrimary(t), newModel()
	for range 2 {
		before := p.published()
		if out, err := exec.Command("cp", src, p.path).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
		p.await(before + 1) // the kernel tells of the file's close after cp has gone on
		p.replay(m)
		p.compare(m)
		p.sqlite("CREATE TABLE u(a)")
	}
}

func TestMountIsBusy(t *testing.T) {
	p := mountPrimary(t)
	p.sqlite("CREATE TABLE t(a)")
	cmd := exec.Command("sqlite3", p.path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, "SELECT 'there', count(*) FROM t;")
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	var busy *BusyError
	if err := p.mounts.Unmount(t.Context()); !errors.As(err, &busy) {
		t.Errorf("unmount with a client gives %v, want a BusyError", err)
	} else if len(busy.Holders) != 1 || busy.Holders[0].PID != cmd.Process.Pid || busy.Holders[0].Command != "sqlite3" {
		t.Errorf("unmount names %v, want %d (sqlite3)", busy.Holders, cmd.Process.Pid)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	p.unmount()
}
