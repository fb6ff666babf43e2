package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestTrace finds each transaction and each request in the log where that was asked for, and not otherwise.
func TestTrace(t *testing.T) {
	n := newPrimary(t)
	for _, traced := range []bool{false, true} {
		var flags []string
		if traced {
			flags = []string{"-trace"}
		}
		n.start(flags...)
		shell(t, n.db, "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1);")
		n.stop()
		for _, want := range []string{"level=TRACE msg=captured db=" + n.db + " pos=", ": CREATE n", "LOOKUP n1"} {
			if got := strings.Contains(n.logged(), want); got != traced {
				t.Errorf("flags %q: %q in the log: got %v, want %v", flags, want, got, traced)
			}
		}
	}
}

// TestLogConfigured has the configuration say how to log, and a flag go before it.
func TestLogConfigured(t *testing.T) {
	n := newPrimary(t)
	n.addr = ""
	n.configure("log-format: json\nlog-level: warn\ndbs:\n  - path: %s\n", n.db)
	n.spawn(n.weir, "mount", "-config", n.conf, "-log-level", "info")
	n.awaitLog(`"msg":"mounted primary"`)
	n.stop()
	for line := range strings.Lines(n.logged()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("got %s, want JSON", line)
		}
	}
	n.spawn(n.weir, "mount", "-config", n.conf)
	n.eventually("it asked", func() error { _, _, err := asked(n, "-db", n.db); return err })
	n.stop()
	if strings.Contains(n.logged(), `"INFO"`) {
		t.Errorf("got info, want warnings only:\n%s", n.logged())
	}
}
