package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// litestreamVersion is what is tried beside weir.
const litestreamVersion = "v0.5.18"

// buildLitestream builds Litestream's command. Go's cache makes it quick but for the first time.
func buildLitestream(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := command("go", "install", "github.com/benbjohnson/litestream/cmd/litestream@"+litestreamVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
	return filepath.Join(dir, "litestream")
}

// Litestream backs the primary's mount up while an app writes: it holds a read transaction, writes a table of its own, and
// checkpoints by itself. What it restores is what the primary has, and the replica follows all of it.
func TestClientsLitestream(t *testing.T) {
	if !*allClients {
		t.Skip("asked for by -clients: it fetches Litestream")
	}
	litestream := buildLitestream(t)
	primary, replica := startPair(t)
	shell(t, primary.db, "PRAGMA journal_mode = WAL;"+ledgerSchema)
	awaitEqual(t, primary, replica)
	conf := litestreamConfig(t, primary.db)

	backup := startBackground(t, litestream, "replicate", "-config", conf)
	writer := startBackground(t, "load", asJSON(load{Seed: 1, DBs: []ledger{{Path: primary.db, Modes: []string{"WAL"}, MaxItems: 300}}, Pause: 2 * time.Millisecond}))
	salts := map[string]bool{}
	primary.eventually("Litestream's checkpoints", func() error {
		writer.next()
		salts[walSalt(t, primary.db)] = true
		if len(salts) < 4 {
			return fmt.Errorf("the WAL was restarted %d times", len(salts)-1)
		}
		return nil
	})
	writer.finish()
	want := shell(t, primary.db, ".dump")
	if !strings.Contains(want, "_litestream_seq") {
		t.Error("Litestream has no table in the database: it does not do what this test is for")
	}
	restores := 0
	primary.eventually("what Litestream restores", func() error {
		restores++
		restored := filepath.Join(t.TempDir(), fmt.Sprint(restores))
		if out, err := tryCommand(litestream, "restore", "-config", conf, "-o", restored, primary.db); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		if got := shell(t, restored, "PRAGMA integrity_check"); got != "ok" {
			t.Fatalf("restored: %s", got)
		}
		// Litestream goes on to write its own table.
		if got := shell(t, restored, ".dump"); withoutLitestream(got) != withoutLitestream(want) {
			return fmt.Errorf("it restored another state than the primary's: %d bytes, not %d", len(got), len(want))
		}
		return nil
	})
	endLitestream(t, backup)
	awaitEqual(t, primary, replica)
	if n := snapshots(replica); n > 1 {
		t.Errorf("the replica took pages %d times, want that it follows", n)
	}
	for _, n := range []*node{primary, replica} {
		if strings.Contains(n.logged(), "level=ERROR") {
			t.Errorf("%s had an error:\n%s", n.name, n.logged())
		}
	}
}

// litestreamConfig has it checkpoint as often as it can.
func litestreamConfig(t *testing.T, db string) string {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "litestream.yml")
	text := fmt.Sprintf(`dbs:
  - path: %s
    monitor-interval: 50ms
    checkpoint-interval: 200ms
    min-checkpoint-page-count: 10
    truncate-page-n: 100
    replica:
      type: file
      path: %s
      sync-interval: 100ms
`, db, filepath.Join(dir, "backup"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return conf
}

// walSalt returns the salt of a WAL, which changes when it is restarted (https://sqlite.org/fileformat2.html#walformat).
func walSalt(t *testing.T, db string) string {
	t.Helper()
	f, err := os.Open(db + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var header [24]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return "" // truncated
	}
	return string(header[16:])
}

// withoutLitestream drops Litestream's tables from a dump.
func withoutLitestream(dump string) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		if !strings.Contains(line, "_litestream_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// endLitestream ends it as a service manager does.
func endLitestream(t *testing.T, backup *background) {
	t.Helper()
	if err := backup.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	out := backup.reap()
	if code := backup.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("litestream: got exit code %d, want 0\n%s\n%s", code, strings.Join(out, "\n"), backup.errs.String())
	}
	for _, line := range out {
		// A writer may be before it for longer than it waits; it tries again.
		if strings.Contains(line, "level=ERROR") && !strings.Contains(line, "SQLITE_BUSY") {
			t.Errorf("litestream: %s", line)
		}
	}
}
