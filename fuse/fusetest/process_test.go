package fusetest

import (
	"os"
	"runtime"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m, &Child{})) }

// A child lives on when the thread ends of whoever had it started.
func TestChildOutlivesThread(t *testing.T) {
	var p *Process
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // without an unlock the thread ends with the goroutine
		p, err = Start()
	}()
	<-ended
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	for _, request := range [][2]string{{"open", "file::memory:"}, {"sql", "SELECT 1"}} {
		if a, err := p.Ask(request[0], request[1]); err != nil || a.Err != "" {
			t.Fatalf("%s: %v %s", request, err, a.Err)
		}
	}
	if err := p.End(); err != nil {
		t.Error(err)
	}
}
