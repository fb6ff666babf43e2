package state

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Owner names a directory so that a copy of it, on this machine or another, has another name: by its inode and the time
// at which that was made. The directory may be moved, and its disk go to another machine. A clone of the whole file
// system is the same.
func Owner(dir *os.Root) (string, error) {
	d, err := dir.Open(".")
	if err != nil {
		return "", err
	}
	var st unix.Statx_t
	err = unix.Statx(int(d.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err = errors.Join(err, d.Close()); err != nil {
		return "", fmt.Errorf("identify %s: %w", dir.Name(), err)
	}
	return fmt.Sprintf("%d-%d.%09d", st.Ino, st.Btime.Sec, st.Btime.Nsec), nil
}
