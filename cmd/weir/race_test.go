//go:build race

package main

import "os"

// The binary under test gets the race detector when the tests have it.
func init() {
	raced = true
	buildFlags = append(buildFlags, "-race")
	// Each process would sleep for a second at its end, and the tests start hundreds.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=10")
}
