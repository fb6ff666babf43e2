package main

import (
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// rereadAfter is how long what was read from files is used without a look at them.
const rereadAfter = time.Second

// reread is what was read from files, and is read again when one of them changes. What can't be read then changes
// nothing but the log.
type reread[T any] struct {
	what  string // for the log
	files []string
	read  func() (T, error)
	log   *slog.Logger

	mu     sync.Mutex // guards all below; not held while files are read
	value  T
	marks  []fileMark // of files, from before they were read
	failed string     // why they could not be read again
	due    time.Time  // of the next look
}

// readFiles reads for the first time. Where there are no files it never does again.
func readFiles[T any](what string, files []string, log *slog.Logger, read func() (T, error)) (*reread[T], error) {
	marks := markFiles(files)
	value, err := read()
	if err != nil {
		return nil, err
	}
	return &reread[T]{what: what, files: files, read: read, log: log, value: value, marks: marks, due: time.Now().Add(rereadAfter)}, nil
}

// get returns what the files say, as of a second ago.
func (r *reread[T]) get() T {
	if r.isDue() {
		r.look()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value
}

// isDue tells one caller at a time.
func (r *reread[T]) isDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.files) == 0 || now.Before(r.due) {
		return false
	}
	r.due = now.Add(rereadAfter)
	return true
}

// look reads the files again if they have changed, or could not be read when they had.
func (r *reread[T]) look() {
	marks := markFiles(r.files)
	r.mu.Lock()
	same := r.failed == "" && slices.Equal(marks, r.marks)
	r.mu.Unlock()
	if same {
		return
	}
	value, err := r.read()
	if !r.replace(value, err, marks) {
		return
	}
	if err != nil {
		r.log.Error("can't read the changed "+r.what+": the one before stays in use", "err", err)
	} else {
		r.log.Info("read the changed " + r.what)
	}
}

// replace takes what was read and tells whether there is something to say.
func (r *reread[T]) replace(value T, err error, marks []fileMark) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		news = r.failed != err.Error()
		r.failed = err.Error()
		return news
	}
	r.value, r.marks, r.failed = value, marks, ""
	return true
}

// fileMark changes when a file does. It is zero where there is none.
type fileMark struct {
	device, inode    uint64
	size             int64
	modified, status time.Time // the latter, when anything of the inode changed, can't be set back
}

func markFiles(files []string) []fileMark {
	marks := make([]fileMark, len(files))
	for i, name := range files {
		if fi, err := os.Stat(name); err == nil {
			marks[i] = markOf(fi)
		}
	}
	return marks
}

func markOf(fi fs.FileInfo) fileMark {
	st := fi.Sys().(*syscall.Stat_t)
	return fileMark{
		device: st.Dev, inode: st.Ino, size: st.Size,
		modified: time.Unix(st.Mtim.Unix()), status: time.Unix(st.Ctim.Unix()),
	}
}
