package state

import (
	"crypto/rand"
	"os"
	"strings"
	"syscall"
	"time"
)

// FileID tells whether a file was changed since: any write moves its times. The zero FileID is that of no file.
//
// It says so for as long as the machine runs. A power failure may leave a file's times and not its contents, or its
// contents and not its times, whatever was synced before: so what was identified before the machine was started is
// never the same.
type FileID struct {
	Boot         string // the kernel's name for the time since the machine was started
	Inode        uint64
	Size         int64
	Mtime, Ctime int64 // ns since the epoch
}

// bootFile is random(4)'s name for the time since the machine was started. Tests that let the power fail set another one.
var bootFile = "/proc/sys/kernel/random/boot_id"

// Identify returns a file's FileID; f may be nil.
func Identify(f *os.File) (id FileID, err error) {
	if f == nil {
		return id, nil
	}
	fi, err := f.Stat()
	if err != nil {
		return id, err
	}
	st := fi.Sys().(*syscall.Stat_t)
	return FileID{boot(), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, nil
}

// boot names the time since the machine was started; where the kernel does not, it is another one each time.
func boot() string {
	b, err := os.ReadFile(bootFile)
	if err != nil {
		return rand.Text()
	}
	return strings.TrimSpace(string(b))
}

// tick is more than the granularity of a file's times, which is up to 10 ms before Linux 6.13.
const tick = 20 * time.Millisecond

// IdentifySettled is Identify for a FileID that is kept: it waits until a write to f would move its times.
func IdentifySettled(f *os.File) (FileID, error) {
	for {
		id, err := Identify(f)
		if err != nil || f == nil || id.Settled() {
			return id, err
		}
		time.Sleep(tick / 4)
	}
}

// Settled tells whether a write to the file would move its times.
func (id FileID) Settled() bool {
	age := time.Since(time.Unix(0, max(id.Mtime, id.Ctime)))
	return age > tick || age < 0
}
