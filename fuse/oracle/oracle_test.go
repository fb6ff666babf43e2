package oracle

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/fuse/fusetest"
)

func TestOracle(t *testing.T) {
	if *flagScript != "" {
		t.Skip("a script is run instead")
	}
	if *flagSeed != 0 {
		runSeed(t, *flagSeed)
		return
	}
	if *flagDuration != 0 {
		n, first := uint64(0), rand.Uint64()>>16
		for end := deadline(); time.Now().Before(end) && (*flagKeepGoing || !t.Failed()); n++ {
			runSeed(t, first+n)
		}
		t.Logf("%d seeds from %d", n, first)
		return
	}
	for i := range uint64(*flagSeeds) {
		if t.Failed() && !*flagKeepGoing {
			return
		}
		runSeed(t, *flagFirst+i)
	}
}

func runSeed(t *testing.T, seed uint64) {
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		ops, err := run(t.TempDir(), func(p *pair) func() (op, bool) { return generated(seed, p) })
		if err == nil {
			return
		}
		t.Errorf("seed %d: %v\nagain: go test ./fuse/oracle -run TestOracle -oracle.seed=%d -oracle.ops=%d", seed, err, seed, *flagOps)
		reduceTo(t, ops, err)
	})
}

// TestScripts runs the scripts in testdata, or the one that -oracle.script names.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.script")
	if err != nil {
		t.Fatal(err)
	}
	if *flagScript != "" {
		files = []string{*flagScript}
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ops, err := parseScript(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = run(t.TempDir(), func(*pair) func() (op, bool) { return listed(ops) }); err != nil {
				t.Error(err)
				reduceTo(t, ops, err)
			}
		})
	}
}

// generated returns a source of operations from a seed.
func generated(seed uint64, p *pair) func() (op, bool) {
	g := newGenerator(seed, generatorOptions, func() uint32 { return p.followed[0].last.size })
	p.answered = g.answered
	n := 0
	return func() (op, bool) {
		n++
		if n > *flagOps {
			return op{}, false
		}
		return g.next(), true
	}
}

// listed returns a source of given operations.
func listed(ops []op) func() (op, bool) {
	return func() (op, bool) {
		if len(ops) == 0 {
			return op{}, false
		}
		o := ops[0]
		ops = ops[1:]
		return o, true
	}
}

// run carries out operations on a new pair and returns those that it came to.
func run(base string, source func(*pair) func() (op, bool)) (done []op, err error) {
	p, err := newPair(base)
	defer func() { err = errors.Join(err, p.close()) }()
	if err != nil {
		return nil, err
	}
	next := source(p)
	for o, ok := next(); ok; o, ok = next() {
		done = append(done, o)
		start := time.Now()
		a, err := p.do(o)
		if took := time.Since(start); took > slow {
			fmt.Printf("slow: operation %d took %v: %.200s\n", len(done), took, o)
		}
		if err != nil {
			return done, fmt.Errorf("operation %d: %w\nthe last operations:\n%s", len(done), err, formatScript(done[max(0, len(done)-12):]))
		}
		if p.answered != nil {
			p.answered(o, a)
		}
		trace(o, a)
	}
	if err := p.end(); err != nil {
		return done, fmt.Errorf("after operation %d, the last: %w", len(done), err)
	}
	return done, nil
}

// slow is how long an operation may take without a remark.
const slow = 3 * time.Second

// trace prints operations and answers with -oracle.trace.
func trace(o op, a fusetest.Answer) {
	if *flagTrace {
		fmt.Printf("%.160s\n\t%q %s\n", o, a.Rows, a.Err)
	}
}
