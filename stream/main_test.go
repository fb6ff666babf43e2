package stream

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestMain fails where a goroutine of the package outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	for range 100 {
		left := leftover()
		if left == nil {
			os.Exit(code)
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintf(os.Stderr, "goroutine left over:\n%s\n", leftover())
	os.Exit(1)
}

// leftover returns the stack of a goroutine of the package other than this one.
func leftover() []byte {
	b := make([]byte, 1<<20)
	stacks := bytes.Split(b[:runtime.Stack(b, true)], []byte("\n\n"))
	for _, s := range stacks[1:] {
		if bytes.Contains(s, []byte("weir/stream.")) {
			return s
		}
	}
	return nil
}
