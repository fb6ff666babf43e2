package oracle

import (
	"testing"

	"weir/fuse/fusetest"
)

// A user without rights, whose mounts are fusermount3's, sees the same.
func TestThroughFusermount(t *testing.T) {
	user := fusetest.UsualUser
	user.AllowOther = true // of which there is no warning
	out, err := user.RunTests(t.TempDir(), "", []string{"TestOracle", "TestScripts"}, "-oracle.passthrough=off", "-oracle.seeds=2", "-oracle.first=1001")
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("%s", out)
	}
}
