package stream

import (
	"fmt"
	"testing"
)

func TestCompareSums(t *testing.T) {
	table := func(pageSize uint32, pages int, other ...uint32) *Sums {
		s := NewSums(pageSize)
		for pgno := uint32(1); pgno <= uint32(pages); pgno++ {
			s.Set(pgno, PageSum(pgno, []byte("content")))
		}
		for _, pgno := range other {
			s.Set(pgno, PageSum(pgno, []byte("another")))
		}
		return s
	}
	for _, tt := range []struct {
		name  string
		own   *Sums
		n     int
		first []uint32
	}{
		{"same", table(512, 10), 0, nil},
		{"two pages", table(512, 10, 1, 7), 2, []uint32{1, 7}},
		{"shorter", table(512, 8), 2, []uint32{9, 10}},
		{"longer", table(512, 11), 1, []uint32{11}},
		{"page size", table(1024, 2), 10, []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
	} {
		v := compareSums(tt.own, table(512, 10), Pos{})
		if v.Differ != tt.n || fmt.Sprint(v.First) != fmt.Sprint(tt.first) || v.Pages != 10 {
			t.Errorf("%s: got %d pages that differ, %v, want %d, %v", tt.name, v.Differ, v.First, tt.n, tt.first)
		}
	}
	if v := compareSums(table(512, 500), table(512, 1), Pos{}); v.Differ != 499 || len(v.First) != maxFirst {
		t.Errorf("got %d pages that differ, %d named", v.Differ, len(v.First))
	}
}
