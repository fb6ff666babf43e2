package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/superfly/ltx"

	"weir/stream"
)

// listed returns what weir log says of the database, or directory, named what.
func listed(t *testing.T, what string) (txns []txnJSON) {
	t.Helper()
	for dec := json.NewDecoder(strings.NewReader(weirOutput(t, "log", "-json", what))); ; {
		var x txnJSON
		if err := dec.Decode(&x); err == io.EOF {
			return txns
		} else if err != nil {
			t.Fatal(err)
		}
		txns = append(txns, x)
	}
}

// history makes transactions and keeps what the database was after each, by TXID.
type history struct {
	t      *testing.T
	n      *node
	states map[string][]byte
	last   string
	at     map[string]time.Time // a moment after the transaction and before the next
}

func (h *history) step(sql string) {
	h.t.Helper()
	shell(h.t, h.n.db, sql)
	h.n.eventually("the transaction", func() error {
		st, err := h.n.status()
		if id := st.Pos.TXID.String(); err == nil && id == h.last {
			err = fmt.Errorf("it is at %s", id)
		} else if err == nil {
			h.last = id
		}
		return err
	})
	time.Sleep(2 * time.Millisecond) // times are in milliseconds
	h.at[h.last] = time.Now()
	time.Sleep(2 * time.Millisecond)
	h.states[h.last] = image(h.t, h.n.db)
}

// Everything that was is listed alike online, by a socket and an address, and offline, and exported so that others read it;
// each state is built from each.
func TestLogAndRestore(t *testing.T) {
	n := newPrimary(t)
	n.start()
	h := &history{t: t, n: n, states: make(map[string][]byte), at: make(map[string]time.Time)}
	h.step("PRAGMA page_size = 1024; PRAGMA journal_mode = DELETE; BEGIN;" + auditSchema + "COMMIT;")
	dir := filepath.Join(t.TempDir(), "backup")
	weirOutput(t, "log", "-o", dir, n.db)
	for range 2 {
		h.step(auditStep)
	}
	h.step("DELETE FROM item; VACUUM;")
	h.step("PRAGMA page_size = 4096; VACUUM;")
	h.step(auditStep)
	weirOutput(t, "log", "-o", dir, n.url())
	compact := filepath.Join(t.TempDir(), "compact")
	weirOutput(t, "log", "-o", compact, "-compact", n.db)

	online := listed(t, n.db)
	if len(online) < len(h.states) || online[len(online)-1].Max != h.last || online[0].Min != stream.TXID(1).String() {
		t.Fatalf("got %d transactions up to %s, want at least %d up to %s", len(online), online[len(online)-1].Max, len(h.states), h.last)
	}
	h.restoreAll(dir, n.db)
	n.stop()
	for _, other := range []string{dir, n.db} {
		if got := listed(t, other); fmt.Sprint(got) != fmt.Sprint(online) {
			t.Errorf("%s: got %v, want %v", other, got, online)
		}
	}
	if got := listed(t, compact); len(got) != 1 || got[0].Min != online[0].Min || got[0].Post != online[len(online)-1].Post {
		t.Errorf("got %v, want all in one", got)
	}
	for _, file := range append(globbed(t, dir), globbed(t, compact)...) {
		verifyLTX(t, file)
	}
	h.restoreAll(n.db, compact)
}

// restoreAll builds all states from the first source, by TXID and by time, and the newest from the other.
func (h *history) restoreAll(each, newest string) {
	h.t.Helper()
	restore := func(id string, args ...string) {
		h.t.Helper()
		got := weirOutput(h.t, append([]string{"restore", "-o", "-"}, args...)...)
		if _, err := comparePages(h.states[id], []byte(got)); err != nil {
			h.t.Errorf("restore %q: %v", args, err)
		}
	}
	for id, at := range h.at {
		restore(id, "-txid", id, each)
		restore(id, "-timestamp", at.Format(time.RFC3339Nano), each)
	}
	restore(h.last, newest)
}

func globbed(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: got %q, %v", dir, files, err)
	}
	return files
}

// verifyLTX has the ltx package verify a file and its name.
func verifyLTX(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dec := ltx.NewDecoder(bytes.NewReader(b))
	if err := dec.Verify(); err != nil {
		t.Errorf("%s: %v", file, err)
	}
	if want := ltx.FormatFilename(dec.Header().MinTXID, dec.Header().MaxTXID); filepath.Base(file) != want {
		t.Errorf("got file %s, want %s", file, want)
	}
}

// Where the log begins later, the export begins with the whole database, once; and what can't be built is said.
func TestExportOfShortLog(t *testing.T) {
	n := newPrimary(t)
	n.start()
	shell(t, n.db, auditSchema+auditStep)
	n.stop()
	segment := filepath.Join(n.dir, ".weir", "db", "log-"+stream.TXID(0).String())
	if err := os.Remove(segment); err != nil {
		t.Fatal(err)
	}
	n.start() // with a log that begins anew
	h := &history{t: t, n: n, states: make(map[string][]byte), at: make(map[string]time.Time)}
	h.step(auditStep)
	dir := filepath.Join(t.TempDir(), "backup")
	weirOutput(t, "log", "-o", dir, n.db)
	base := h.last
	delete(h.at, base) // when it was, nobody knows: the copy's time counts
	for range 3 {
		h.step(auditStep)
	}
	weirOutput(t, "log", "-o", dir, n.db)
	files := globbed(t, dir)
	if got, want := filepath.Base(files[0]), stream.TXID(1).String()+"-"+base+".ltx"; got != want || len(files) != 4 {
		t.Errorf("got %d files, the first %s, want 4, the first %s", len(files), got, want)
	}
	for _, file := range files {
		verifyLTX(t, file)
	}
	h.restoreAll(dir, dir)
	refuse := func(want string, args ...string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "then")
		_, stderr, err := tryWeir(append([]string{"restore", "-o", file}, args...)...)
		if _, statErr := os.Stat(file); err == nil || statErr == nil || !strings.Contains(stderr, want) {
			t.Errorf("%q: got %v, %q, want %q and no file", args, err, stderr, want)
		}
	}
	refuse("it has the states "+base+" to "+h.last, "-txid", "0000000000000001", dir)
	refuse("it has the states "+base+" to "+h.last, "-timestamp", "2001-01-01T00:00:00Z", dir)
	refuse("and not the database before them", n.db)
	// A page that rots in the backup.
	b, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2]++
	if err := os.WriteFile(files[2], b, 0o600); err != nil {
		t.Fatal(err)
	}
	refuse(files[2]+": corrupt data", dir)
	if err := os.Remove(files[2]); err != nil {
		t.Fatal(err)
	}
	refuse("does not follow", dir)
	refuse("it has the states", "-timestamp", h.at[h.last].Add(-time.Nanosecond).Format(time.RFC3339Nano), dir)
}
