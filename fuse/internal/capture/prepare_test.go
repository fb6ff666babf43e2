package capture

import "testing"

// A transaction has its pages as they are at its end, whatever was packed before.
func TestPreparedPages(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"as they were packed": func(*rig) {},
		"written again":       func(r *rig) { r.write(5, filled(6)) },
		"packed again": func(r *rig) {
			r.write(5, filled(6))
			r.d.SyncingDatabase()
		},
		"written in part": func(r *rig) {
			if _, err := r.d.Write(r.app, []byte("part"), 4*4096+100); err != nil {
				r.Fatal(err)
			}
		},
		"across two": func(r *rig) {
			if _, err := r.d.Write(r.app, []byte("part"), 5*4096-2); err != nil {
				r.Fatal(err)
			}
		},
		"cut, written and packed": func(r *rig) {
			if err := r.d.Truncate(6*4096, func() error { return r.app.Truncate(6 * 4096) }); err != nil {
				r.Fatal(err)
			}
			for pgno := uint32(8); pgno <= r.d.sums.Len(); pgno++ {
				r.write(pgno, filled(byte(pgno)))
			}
			r.d.SyncingDatabase()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.journal(1)
			r.write(5, filled(5))
			r.write(6, filled(6))
			r.write(7, filled(7))
			if r.d.SyncingDatabase(); len(r.d.dirty.packed) != 3 {
				t.Fatalf("%d pages are packed, want 3", len(r.d.dirty.packed))
			}
			change(r)
			if err := r.endJournal(); err != nil {
				t.Fatal(err)
			}
			r.check(2)
			if n := len(r.d.dirty.packed); n > 0 {
				t.Errorf("%d pages are packed after the commit", n)
			}
		})
	}
}
