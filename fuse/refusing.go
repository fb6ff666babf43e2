package fuse

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// refusing is a file system that only the daemon's own threads change: to apps it is as a read-only mount. It stands for
// one where there is but one mount, which is writable. What needs a file that is open for writing gets nowhere by itself,
// and is not named here.
type refusing struct{ fuse.RawFileSystem }

// Open refuses to open for writing.
func (f refusing) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&(unix.O_ACCMODE|unix.O_TRUNC) != unix.O_RDONLY && !isOwn(in.Pid) {
		return readOnly
	}
	return f.RawFileSystem.Open(cancel, in, out)
}

// SetAttr refuses all but the daemon.
func (f refusing) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if !isOwn(in.Pid) {
		return readOnly
	}
	return f.RawFileSystem.SetAttr(cancel, in, out)
}

// Create refuses all. The daemon makes files below the mount.
func (refusing) Create(<-chan struct{}, *fuse.CreateIn, string, *fuse.CreateOut) fuse.Status {
	return readOnly
}

// Tmpfile refuses all.
func (refusing) Tmpfile(<-chan struct{}, *fuse.CreateIn, *fuse.CreateOut) fuse.Status {
	return readOnly
}

// Mknod refuses all.
func (refusing) Mknod(<-chan struct{}, *fuse.MknodIn, string, *fuse.EntryOut) fuse.Status {
	return readOnly
}

// Mkdir refuses all.
func (refusing) Mkdir(<-chan struct{}, *fuse.MkdirIn, string, *fuse.EntryOut) fuse.Status {
	return readOnly
}

// Symlink refuses all.
func (refusing) Symlink(<-chan struct{}, *fuse.InHeader, string, string, *fuse.EntryOut) fuse.Status {
	return readOnly
}

// Link refuses all.
func (refusing) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status {
	return readOnly
}

// Rename refuses all.
func (refusing) Rename(<-chan struct{}, *fuse.RenameIn, string, string) fuse.Status { return readOnly }

// Unlink refuses all.
func (refusing) Unlink(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return readOnly }

// Rmdir refuses all.
func (refusing) Rmdir(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return readOnly }

// SetXAttr refuses all.
func (refusing) SetXAttr(<-chan struct{}, *fuse.SetXAttrIn, string, []byte) fuse.Status {
	return readOnly
}

// RemoveXAttr refuses all.
func (refusing) RemoveXAttr(<-chan struct{}, *fuse.InHeader, string) fuse.Status { return readOnly }

// GetXAttr says that there are none: the kernel does not ask again.
func (refusing) GetXAttr(<-chan struct{}, *fuse.InHeader, string, []byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

// ListXAttr says so, too.
func (refusing) ListXAttr(<-chan struct{}, *fuse.InHeader, []byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}
