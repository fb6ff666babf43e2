package fuse

import "testing"

func TestPatternMatches(t *testing.T) {
	for _, tt := range []struct {
		match, name string
		flat, deep  bool // without and with Recursive
	}{
		{"*.db", "x.db", true, true},
		{"*.db", "sub/x.db", false, true},
		{"*.db", "sub.db/deep/.x.db", false, true},
		{"*.db", "x.db-wal", false, false},
		{"*", "x.db-wal", false, false},
		{"*", "x.db-shm", false, false},
		{"*", "x.db-journal", false, false},
		{"*", "x.db-mj0123AB945", false, false},
		{"*", "x.db-pos", true, true},
		{"*", "-wal", false, false},
		{"*", ".weir", false, false},
		{"*", ".weir/x", false, false},
		{"*", "sub/.weir/x", false, false},
		{"*", "lock", false, false}, // .weir/lock is not a database's
		{"*", "sub/lock", false, true},
		{"*", "../x", false, false},
		{"*", "sub/../x", false, false},
		{"*", "/x", false, false},
		{"*", "", false, false},
		{"*", ".", false, false},
		{"[ab]?.db", "a1.db", true, true},
		{"[ab]?.db", "c1.db", false, false},
	} {
		for _, recursive := range []bool{false, true} {
			want := tt.flat
			if recursive {
				want = tt.deep
			}
			if got := (Pattern{Dir: "/data", Match: tt.match, Recursive: recursive}).matches(tt.name); got != want {
				t.Errorf("%s, recursive %t: %q matches: got %t, want %t", tt.match, recursive, tt.name, got, want)
			}
		}
	}
}
