package oracle

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/mattn/go-sqlite3"

	"weir/fuse/fusetest"
)

var (
	flagSeed      = flag.Uint64("oracle.seed", 0, "run this seed alone")
	flagSeeds     = flag.Int("oracle.seeds", 5, "number of seeds")
	flagFirst     = flag.Uint64("oracle.first", 1, "the first seed")
	flagDuration  = flag.Duration("oracle.duration", 0, "run seeds from a random first one for so long instead")
	flagOps       = flag.Int("oracle.ops", 150, "operations of a seed")
	flagScript    = flag.String("oracle.script", "", "run a script instead of seeds")
	flagReduce    = flag.String("oracle.reduce", "", "reduce a failing seed or script to fewer operations, into this file")
	flagLate      = flag.Duration("oracle.late", fusetest.Late, "how long a stream has to show a commit")
	flagTrace     = flag.Bool("oracle.trace", false, "print operations and answers")
	flagKeepGoing = flag.Bool("oracle.keepgoing", false, "go on after a failing seed")

	generatorOptions options
	flagPassthrough  fusetest.Passthrough
)

func init() {
	flag.TextVar(&flagPassthrough, "oracle.passthrough", fusetest.PassthroughOfEnvironment(), "mount with FUSE passthrough: on, off, or primary or replica alone")
	flag.BoolVar(&generatorOptions.unjournaled, "oracle.unjournaled", true, "journal_mode MEMORY and OFF too")
	flag.BoolVar(&generatorOptions.exclusive, "oracle.exclusive", true, "locking_mode EXCLUSIVE too")
	flag.BoolVar(&generatorOptions.attach, "oracle.attach", true, "commits over two databases too")
	flag.BoolVar(&generatorOptions.restart, "oracle.restart", true, "end and begin weir too")
	flag.BoolVar(&generatorOptions.files, "oracle.files", true, "replace the database by other files too")
	flag.BoolVar(&generatorOptions.kill, "oracle.kill", true, "kill writers too")
}

func TestMain(m *testing.M) {
	os.Exit(fusetest.Main(m, &fusetest.Child{
		Opened: func(conn *sqlite3.SQLiteConn) error { return conn.RegisterFunc("blob", blob, true) },
		Verbs: map[string]func(*sqlite3.SQLiteConn, string) error{
			"files":   func(_ *sqlite3.SQLiteConn, arg string) error { return files(arg) },
			"persist": persistWAL,
			"restore": restore,
		},
	}))
}

// deadline is when a run of unbounded seeds ends.
func deadline() time.Time { return time.Now().Add(*flagDuration) }
