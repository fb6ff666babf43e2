package main

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/fuse/crashfs"
)

var (
	blockCuts = flag.Int("block.cuts", 2, "power failures of TestBlockPowerLoss for each way to write")
	blockSeed = flag.Uint64("block.seed", 0, "of these power failures; 0: a new one")
)

// blockDisk is the size of a disk, in bytes: ext4 and its journal take 6 MiB of it.
const blockDisk = 24 << 20

// blockWritings are those of writings that are tried on blocks.
var blockWritings = []writing{
	{"WAL", "FULL", true, true},
	{"DELETE", "EXTRA", true, true},
	{"WAL", "OFF", false, false},
}

// The same as TestPowerLoss, with the file system that most have: weir's disks are ext4, on block devices whose writes
// are recorded. Since the last flush each block holds what it held after any of the writes to it. So it is not a model
// that says what fsync, rename and a journal of metadata leave, but ext4, which replays its journal as it is mounted.
func TestBlockPowerLoss(t *testing.T) {
	skipRaced(t)
	test := powerTest{writings: blockWritings, mount: mountBlocks, seed: *blockSeed, cuts: *blockCuts, only: -1}
	test.run(t, func(r *recording, rnd *rand.Rand) failure {
		return failure{moment: r.chooseMoment(rnd), primaryLoss: blockLoss(rnd), replicaLoss: blockLoss(rnd)}
	})
}

// blockLoss loses blocks of ext4's size, as disks do with sectors of 4096 bytes. Names and sizes are not lost: there is one
// file, the disk.
func blockLoss(rnd *rand.Rand) *crashfs.Loss {
	return &crashfs.Loss{Seed: rnd.Uint64(), Model: crashfs.Journaled, Grain: 4096}
}

// mountBlocks mounts ext4 on a block device that is a file of a file system that records.
func mountBlocks(t *testing.T, start *crashfs.Image) *disk {
	t.Helper()
	d, at := mountRecording(t, start)
	blocks, root := filepath.Join(at, "blocks"), filepath.Join(t.TempDir(), "ext4")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if start == nil {
		makeBlocks(t, blocks)
	}
	mountLoop(t, blocks, root)
	d.begin(t, root, start == nil)
	return d
}

// makeBlocks makes an ext4 in a file.
func makeBlocks(t *testing.T, blocks string) {
	t.Helper()
	f, err := os.Create(blocks)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(blockDisk); err != nil {
		t.Fatal(err)
	}
	mustCommand(t, "mkfs.ext4", "-q", "-m", "0", "-b", "4096", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", blocks)
	if err := errors.Join(f.Sync(), syncDir(filepath.Dir(blocks))); err != nil {
		t.Fatal(err)
	}
}

// mountLoop mounts the ext4 in a file for as long as the test runs. The loop device goes with the mount.
func mountLoop(t *testing.T, blocks, at string) {
	t.Helper()
	if out, err := tryCommand("mount", "-o", "loop", "-t", "ext4", blocks, at); err != nil {
		t.Fatalf("mount an ext4 in a file, which takes a loop device (/dev/loop-control, and the right to use it): %v: %s", err, out)
	}
	t.Cleanup(func() { unmountLoop(t, at) })
}

func unmountLoop(t *testing.T, at string) {
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = unix.Unmount(at, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	if err != nil {
		t.Errorf("unmount %s: %v", at, errors.Join(err, unix.Unmount(at, unix.MNT_DETACH)))
	}
}
