package main

import (
	"os"
	"runtime"
)

// processors is how many threads run Go code at a time, at least. An app's request is served by several threads that
// wait in the kernel, and each keeps a processor for a while. Where the others have none left, the runtime looks every 20
// microseconds for one to take away, and a thread that has its answer waits for that.
const processors = 8

// useProcessors makes processors, unless GOMAXPROCS is set.
func useProcessors() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < processors {
		runtime.GOMAXPROCS(processors)
	}
}
