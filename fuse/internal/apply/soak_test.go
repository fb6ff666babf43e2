package apply

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"
)

// TestSoak runs for as long as WEIR_SOAK says, and tells how long transactions took to apply under readers.
func TestSoak(t *testing.T) {
	d, err := time.ParseDuration(os.Getenv("WEIR_SOAK"))
	if err != nil {
		t.Skip("set WEIR_SOAK to a duration")
	}
	s, r := newSource(t, 4096, "wal"), newReplica(t)
	r.apply(s.payloads...)
	for range 3 {
		rd := startReader(t, r.dir)
		rd.want("loop", "ok")
		defer func() {
			if got := rd.do("stop"); len(got) > 10 {
				t.Error(got)
			}
		}()
	}
	var took []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		p := s.step()
		start := time.Now()
		if err := r.Apply(r.ctx(), bytes.NewReader(p), int64(len(p)), noMore); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("%d transactions, %d restarts; apply took p50 %v, p99 %v, at most %v", len(took), r.restarts(), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}
