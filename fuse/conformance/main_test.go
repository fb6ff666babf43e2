package conformance

import (
	"flag"
	"os"
	"testing"

	"weir/fuse/fusetest"
)

var (
	own  = flag.Bool("conformance.programs", false, "run SQLite's own programs, built from its Debian source package")
	long = flag.Bool("conformance.long", false, "run them in full length")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests wait for disks and for each other's processes more than they compute.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set("6")
	}
	os.Exit(fusetest.Main(m, &fusetest.Child{}))
}
