package oracle

import (
	"os"
	"strings"
	"testing"
	"unicode"
)

// reduceTo makes failing operations fewer as long as they fail in the same way, into the file that -oracle.reduce names.
func reduceTo(t *testing.T, ops []op, failure error) {
	if *flagReduce == "" {
		return
	}
	fails := func(ops []op) bool {
		dir, err := os.MkdirTemp("", "reduce-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		_, err = run(dir, func(*pair) func() (op, bool) { return listed(ops) })
		return err != nil && kind(err) == kind(failure)
	}
	if !fails(ops) {
		t.Error("the operations do not fail again; nothing to reduce")
		return
	}
	ops = reduce(ops, fails)
	if err := os.WriteFile(*flagReduce, []byte(formatScript(ops)), 0o644); err != nil {
		t.Error(err)
	}
	t.Logf("%d operations remain, in %s", len(ops), *flagReduce)
}

// kind is what failures of one kind have in common: the first line without numbers and the operation.
func kind(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	_, line, _ = strings.Cut(line, ": ")
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) || r >= 'a' && r <= 'f' {
			return -1
		}
		return r
	}, line)
}

// reduce leaves out operations, many at first, as long as the others fail.
func reduce(ops []op, fails func([]op) bool) []op {
	for n := len(ops) / 2; n > 0; n /= 2 {
		for at := 0; at+n <= len(ops); {
			fewer := append(append([]op(nil), ops[:at]...), ops[at+n:]...)
			if fails(fewer) {
				ops = fewer
			} else {
				at += n
			}
		}
	}
	return ops
}
