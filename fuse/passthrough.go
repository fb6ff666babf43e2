package fuse

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Passthrough says whether the kernel reads and writes backing files by itself
// where that is exact. Without it the same happens slower.
type Passthrough int

const (
	PassthroughAuto Passthrough = iota // where the kernel, the rights and the backing file system allow it
	PassthroughOn                      // or else [Mount] fails with [ErrNoPassthrough]
	PassthroughOff
)

// ErrNoPassthrough says that the kernel or the rights for FUSE passthrough are
// missing.
var ErrNoPassthrough = errors.New("FUSE passthrough is not available: it needs Linux 6.9 or newer and CAP_SYS_ADMIN (run weir as root; a container needs --device /dev/fuse --cap-add SYS_ADMIN)")

var passthroughNames = []string{PassthroughAuto: "auto", PassthroughOn: "on", PassthroughOff: "off"}

// UnmarshalText reads auto, on or off.
func (p *Passthrough) UnmarshalText(text []byte) error {
	for i, name := range passthroughNames {
		if string(text) == name {
			*p = Passthrough(i)
			return nil
		}
	}
	return fmt.Errorf("passthrough is %q: give auto, on or off", text)
}

// MarshalText is the inverse of UnmarshalText.
func (p Passthrough) MarshalText() ([]byte, error) { return []byte(passthroughNames[p]), nil }

// choosePassthrough decides for one directory.
func (d *directory) choosePassthrough(want Passthrough) error {
	if want == PassthroughOff {
		return nil
	}
	err := d.mounting.probePassthrough(d.lock)
	if want == PassthroughAuto && errors.Is(err, ErrNoPassthrough) {
		d.logger.Warn("reads and writes are slower, and as exact, without FUSE passthrough", "directory", d.path, "err", err)
		return nil
	}
	d.passthrough = err == nil
	return err
}

// probePassthrough asks the kernel to pass a file through in a file system that
// is made for the question.
func probePassthrough(probe *os.File) error {
	of, err := newMount()
	if err != nil {
		return err
	}
	s, err := newSuperblock(of, new(fs.Inode), new(barrier), time.Second, true, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer s.wait(after(closeTimeout))
	defer s.release()
	return s.checkPassthrough(probe)
}

// checkPassthrough asks the kernel to pass a file of ours through.
func (s *superblock) checkPassthrough(probe *os.File) error {
	if s.server.KernelSettings().Flags64()&fuse.CAP_PASSTHROUGH == 0 {
		return ErrNoPassthrough
	}
	id, errno := s.server.RegisterBackingFd(&fuse.BackingMap{Fd: int32(probe.Fd())})
	if errno != 0 {
		return fmt.Errorf("%w: %w", ErrNoPassthrough, errno)
	}
	s.server.UnregisterBackingFd(id)
	return nil
}
