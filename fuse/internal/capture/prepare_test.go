package capture

import (
	"errors"
	"testing"
	"time"
)

// A transaction has its pages as they are at its end, whatever was packed before.
func TestPreparedPages(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"as they were packed": func(*rig) {},
		"written again":       func(r *rig) { r.write(5, filled(6)) },
		"packed again": func(r *rig) {
			r.write(5, filled(6))
			r.pack(5)
		},
		"written in part": func(r *rig) {
			if _, err := r.d.Write(r.app, []byte("part"), 4*4096+100); err != nil {
				r.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.journal(1)
			r.write(5, filled(5))
			r.write(7, filled(7))
			r.pack(5, 7)
			change(r)
			if err := r.endJournal(); err != nil {
				t.Fatal(err)
			}
			r.check(2)
			r.journal(2)
			r.write(5, filled(8))
			if err := r.endJournal(); err != nil {
				t.Fatal(err)
			}
			r.check(3)
		})
	}
}

// A write that fails may have changed the page in part.
func TestPreparedPageFails(t *testing.T) {
	r := newRig(t)
	r.journal(1)
	if _, err := r.d.Write(full{}, filled(5), 4*4096); err == nil {
		t.Fatal("the write did not fail")
	}
	if n := len(r.d.prepare.pages); n > 0 {
		t.Errorf("%d pages are prepared, want none", n)
	}
	if err := r.endJournal(); err != nil {
		t.Fatal(err)
	}
	r.check(1)
}

// full is a file on a full disk.
type full struct{}

func (full) WriteAt([]byte, int64) (int, error) { return 0, errors.New("disk full") }

// pack waits until pages are packed.
func (r *rig) pack(pgnos ...uint32) {
	r.Helper()
	r.d.SyncingDatabase()
	for _, pgno := range pgnos {
		for end := time.Now().Add(time.Minute); !r.isPacked(pgno); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				r.Fatalf("page %d is not packed", pgno)
			}
		}
	}
}

func (r *rig) isPacked(pgno uint32) bool {
	r.d.prepare.mu.Lock()
	defer r.d.prepare.mu.Unlock()
	page := r.d.prepare.pages[pgno]
	return page != nil && page.ready.Load()
}
