package fuse

import (
	"strings"
	"testing"
)

// FuzzParseMount reads any line as one of mountinfo.
func FuzzParseMount(f *testing.F) {
	f.Add(`36 35 98:0 / /mnt\0402 rw - fuse.weir weir rw`)
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parseMount(line)
		if !ok {
			return
		}
		if m.path == "" || m.fsType == "" || strings.Contains(m.path, `\040`) && !strings.Contains(line, `\134`) {
			t.Errorf("%q: got path %q and type %q", line, m.path, m.fsType)
		}
	})
}
