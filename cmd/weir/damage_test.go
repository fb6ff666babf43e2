package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var (
	damageSeed   = flag.Uint64("damage.seed", 0, "the seed of TestBadBytes; 0: any")
	damageRounds = flag.Int("damage.rounds", len(damages), "how many bytes TestBadBytes damages, in one place after the other")
)

// damage is a place in which a byte goes bad while a node is down.
type damage struct {
	name    string
	primary bool   // whose file it is; else the replica's
	file    string // below the node's directory; of several the last by name
	limit   int64  // of the offset; 0: the file's end
	kill    bool   // the node is killed, else it ends cleanly

	// What the node says, and what it sets aside; "" where the file is right again by itself, from the WAL.
	said, aside string
}

var damages = []damage{
	{name: "replica's database header", file: "db", limit: headerSize, said: `file=db pages="[1`, aside: "pages.*.bad"},
	{name: "replica's database", file: "db", said: "file=db pages=", aside: "pages.*.bad"},
	{name: "replica's database header, killed", file: "db", limit: headerSize, kill: true},
	{name: "replica's database, killed", file: "db", kill: true},
	{name: "replica's WAL", file: "db-wal", kill: true, said: "file=db-wal damage=", aside: "db-wal.*.bad"},
	{name: "replica's checksums", file: ".weir/db/replica-sums", said: "replica-sums damage=", aside: "replica-sums.*.bad"},
	{name: "replica's identity", file: ".weir/db/id", said: "file=id err=", aside: "id.*.bad"},
	{name: "replica's log", file: ".weir/db/log-????????????????", said: "segment=log-", aside: "log-*.bad"},
	{name: "replica's log, killed", file: ".weir/db/log-????????????????", kill: true, said: "segment=log-", aside: "log-*.bad"},
	{name: "primary's checksums", primary: true, file: ".weir/db/sums", said: "file=sums damage=", aside: "sums.*.bad"},
	{name: "primary's identity", primary: true, file: ".weir/db/id", said: "file=id err=", aside: "id.*.bad"},
	{name: "primary's log", primary: true, file: ".weir/db/log-????????????????", said: "segment=log-", aside: "log-*.bad"},
	{name: "primary's log, killed", primary: true, file: ".weir/db/log-????????????????", kill: true, said: "segment=log-", aside: "log-*.bad"},
}

// A byte goes bad in a file of a node that is down: in a replica's database, its WAL, in weir's own files on either side.
// Started again, the node says what is damaged and has set it aside, the replica comes to the primary's state, and shows no
// other on the way there.
func TestBadBytes(t *testing.T) {
	seed := *damageSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-damage.seed=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	primary, replica := startPair(t)
	shell(t, primary.db, "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);")
	shell(t, primary.db, "INSERT INTO t SELECT value, randomblob(3000) FROM generate_series(1, 40);")
	var states [][]byte // that a reader may see, the last of them in the end
	commit := func() {
		shell(t, primary.db, "REPLACE INTO t VALUES (abs(random()) % 60, randomblob(3000));")
		states = append(states[max(0, len(states)-20):], image(t, primary.db))
	}
	for i := range *damageRounds {
		of := &damages[i%len(damages)]
		for range 4 {
			commit()
		}
		awaitEqual(t, primary, replica)
		at := of.strike(t, primary, replica, rnd, commit)
		awaitShown(t, replica, states, fmt.Sprintf("%s, byte %s", of.name, at))
	}
}

// strike ends the node, damages a byte, and starts the node again, which has to notice. It returns where the byte is, and
// commits what the replica has still to get.
func (of *damage) strike(t *testing.T, primary, replica *node, rnd *rand.Rand, commit func()) string {
	t.Helper()
	n := replica
	if of.primary {
		n = primary
	}
	if of.kill {
		n.kill()
		unmountDead(t, n)
	} else {
		n.stop()
	}
	below, err := os.OpenRoot(n.dir) // stays below the mount
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	had := setAside(t, below, of.aside)
	at, offset := of.flip(t, n, rnd)
	if !of.primary {
		commit()
	}
	n.start()
	if of.primary {
		commit()
	}
	if of.said == "" || of.file == "db" && (offset == writeVersionAt || offset == readVersionAt) { // a replica sets these anyway
		return at
	}
	n.awaitLog(of.said)
	n.eventually("what is set aside of the "+of.name+", byte "+at, func() error {
		has := setAside(t, below, of.aside)
		if !slices.ContainsFunc(has, func(name string) bool { return !slices.Contains(had, name) }) {
			return fmt.Errorf("there is %v, and was %v before", has, had)
		}
		return nil
	})
	return at
}

// unmountDead takes away the mount that a killed node leaves.
func unmountDead(t *testing.T, n *node) {
	t.Helper()
	for isMounted(n.dir) {
		if err := unix.Unmount(n.dir, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
}

// setAside lists the files that were set aside of a database.
func setAside(t *testing.T, below *os.Root, pattern string) []string {
	t.Helper()
	names, err := fs.Glob(below.FS(), path.Join(".weir/db", pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// flip changes a random byte of the file to another.
func (of *damage) flip(t *testing.T, n *node, rnd *rand.Rand) (at string, offset int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dir, of.file))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no file %s (%v)", of.name, of.file, err)
	}
	f, err := os.OpenFile(files[len(files)-1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	size := fi.Size()
	if of.limit != 0 {
		size = min(size, of.limit)
	}
	if strings.HasSuffix(of.file, "-wal") {
		size = framesEnd(t, f)
	}
	var b [1]byte
	offset = rnd.Int64N(size)
	if _, err := f.ReadAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= byte(1 + rnd.IntN(255))
	if _, err := f.WriteAt(b[:], offset); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d of %d in %s", offset, fi.Size(), filepath.Base(f.Name())), offset
}

// framesEnd is where the frames of the WAL f end: what is behind them is the file's reserve, or of a WAL before.
func framesEnd(t *testing.T, f *os.File) int64 {
	t.Helper()
	const headerSize, frameSize, salts = 32, 24 + 4096, 8
	var want, got [salts]byte
	if _, err := f.ReadAt(want[:], 16); err != nil {
		t.Fatal(err)
	}
	for at := int64(headerSize); ; at += frameSize {
		_, err := f.ReadAt(got[:], at+8)
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if err != nil || got != want {
			return at
		}
	}
}

// awaitShown waits until the replica shows the last of the given states, and requires that it shows only these.
func awaitShown(t *testing.T, replica *node, states [][]byte, what string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image")
	replica.eventually("the primary's state after damage to the "+what, func() error {
		if _, err := os.Stat(replica.db); err != nil {
			return err
		}
		out, err := command("weir", workerName, "check", replica.db, file).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: a reader sees damage: %s", what, out)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(states, func(want []byte) bool { _, err := comparePages(want, got); return err == nil })
		if i < 0 {
			t.Fatalf("%s: a reader sees a state that the primary never had", what)
		}
		if i < len(states)-1 {
			return fmt.Errorf("it shows state %d of %d", i+1, len(states))
		}
		return nil
	})
}
