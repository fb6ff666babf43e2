package crashfs

import (
	"os"
	"testing"

	"weir/fuse/fusetest"
)

func TestMain(m *testing.M) { os.Exit(fusetest.Main(m, new(fusetest.Child))) }
