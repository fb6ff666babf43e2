package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"weir/fuse/fusetest"
)

// options switch off what the generator does.
type options struct {
	unjournaled bool // journal_mode MEMORY and OFF
	exclusive   bool // locking_mode EXCLUSIVE
	attach      bool
	kill        bool
	restart     bool // weir itself, too
	files       bool // the database replaced by other files
}

// generator makes operations. What it makes depends on its seed and on SQLite's answers.
type generator struct {
	*rand.Rand
	options
	profile profile
	writers [writers]writer
	last    int    // the writer of the last operation
	k       uint64 // counts blobs, so that each is another
	pages   func() uint32
	queue   []op
}

// profile is a seed's inclination.
type profile struct {
	writers   int
	pageSize  int
	walModes  int // of 10 journal modes how many are WAL
	switches  int // how often of 1000 a journal mode is set
	blob      int // largest blob
	rows      int // most rows of an insert
	exclusive int // how often of 1000 a writer asks for exclusive locking
	holds     int // how often of 1000 a reader of the replica begins a transaction; it ends at the next look, or as often
}

// writer is what the generator knows of a writer.
type writer struct {
	open, inTxn, exclusive, attached bool
	unjournaled                      bool // what it does not commit can't be undone
	savepoints                       int
}

func newGenerator(seed uint64, opt options, pages func() uint32) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x57656972)), options: opt, pages: pages}
	g.profile = profile{
		writers:   1 + g.IntN(writers),
		pageSize:  512 << g.IntN(8),
		walModes:  []int{0, 3, 5, 8, 10}[g.IntN(5)],
		switches:  []int{5, 20, 60}[g.IntN(3)],
		blob:      []int{200, 3000, 30000}[g.IntN(3)],
		rows:      []int{5, 40, 300}[g.IntN(3)],
		exclusive: []int{0, 0, 10, 40}[g.IntN(4)],
		holds:     []int{8, 8, 20, 80}[g.IntN(4)],
	}
	g.queue = []op{
		{0, "open", g.query()},
		{0, "sql", fmt.Sprintf("PRAGMA page_size=%d", g.profile.pageSize)},
		{0, "sql", fmt.Sprintf("PRAGMA auto_vacuum=%d", g.IntN(3))},
		{0, "sql", "PRAGMA journal_mode=" + g.journalMode()},
	}
	g.createAll(0, "")
	return g
}

// createAll has a writer create tables in a schema.
func (g *generator) createAll(who int, schema string) {
	for n := range tables {
		g.queue = append(g.queue, op{who, "sql", g.createTableIn(schema, n)})
	}
}

// answered tells the generator what came of an operation.
func (g *generator) answered(o op, a fusetest.Answer) {
	if o.byReader() {
		return
	}
	w := &g.writers[o.who]
	switch o.verb {
	case "open":
		w.open = w.open || a.Err == ""
	case "close", "kill", "shoot":
		*w = writer{}
	case "remount", "crash":
		g.writers = [writers]writer{}
		return
	case "restart":
		return
	case "sql":
		g.sqlAnswered(w, o.arg, a)
	}
	g.last = o.who
	w.inTxn = a.Open
}

func (g *generator) sqlAnswered(w *writer, text string, a fusetest.Answer) {
	switch {
	case strings.HasPrefix(text, "ATTACH"):
		w.attached = w.attached || a.Err == ""
	case strings.HasPrefix(text, "DETACH"):
		w.attached = w.attached && a.Err != ""
	case strings.Contains(text, "journal_mode=") && len(a.Rows) == 1:
		w.unjournaled = a.Rows[0] == "memory" || a.Rows[0] == "off"
	case strings.HasPrefix(text, "PRAGMA locking_mode=") && len(a.Rows) == 1:
		w.exclusive = a.Rows[0] == "exclusive"
	}
}

// next makes an operation.
func (g *generator) next() op {
	if len(g.queue) > 0 {
		o := g.queue[0]
		g.queue = g.queue[1:]
		return o
	}
	if g.IntN(1000) < 2*g.profile.holds {
		return g.read()
	}
	who := g.writer()
	w := &g.writers[who]
	n := g.IntN(1000)
	switch {
	case n < 6 && !g.cannotUndo():
		return g.disturb()
	case !w.open:
		return g.openBy(who)
	case n < 12 && g.files && !w.inTxn:
		return g.fileOp(who)
	case w.unjournaled && w.inTxn: // it must come to its COMMIT
	case w.inTxn && n < 24 && g.anyUnjournaled(): // it must not leave a hot journal
	case n < 18 && g.kill:
		return op{who, "kill", ""}
	case n < 24 && g.kill && w.inTxn:
		return op{who, "shoot", fmt.Sprint(g.moment(), " ", g.change(w))}
	case n < 33:
		return op{who, "close", ""}
	}
	return op{who, "sql", g.statement(w)}
}

// cannotUndo tells whether some writer is in a transaction that nothing can undo.
func (g *generator) cannotUndo() bool {
	return slices.ContainsFunc(g.writers[:], func(w writer) bool { return w.unjournaled && w.inTxn })
}

// anyUnjournaled tells whether some writer works without a journal. With journal_mode=OFF it does not roll back a hot one
// either, and writes on where the next to come does.
func (g *generator) anyUnjournaled() bool {
	return slices.ContainsFunc(g.writers[:], func(w writer) bool { return w.unjournaled })
}

// read makes an operation of a reader of the replica.
func (g *generator) read() op {
	who := 1 + g.IntN(readers-1)
	switch g.IntN(8) {
	case 0, 1, 2:
		return op{who, "hold", g.pick("", "", "mode=ro")}
	case 3:
		return op{who, "ask", g.pick("PRAGMA mmap_size=65536", "PRAGMA mmap_size=1000000000", "PRAGMA mmap_size=0", "PRAGMA cache_size=5",
			"CREATE TEMP TABLE IF NOT EXISTS x AS SELECT * FROM t0", "PRAGMA wal_checkpoint", "DELETE FROM t0")}
	}
	return op{who, "release", ""}
}

// disturb ends processes, or weir on both sides or on the replica's, and lets them begin again.
func (g *generator) disturb() op {
	statement := g.change(&writer{})
	if g.kill && g.IntN(2) == 0 {
		return op{0, "crash", fmt.Sprint(g.moment(), " ", g.pick(statement, statement, "VACUUM", "PRAGMA journal_mode="+g.pick("WAL", "DELETE")))}
	}
	if !g.restart {
		return op{0, "remount", ""}
	}
	return op{0, g.pick("remount", "restart"), g.pick(statement, "")}
}

// moment is a time within a statement, in microseconds; shorter ones are more likely.
func (g *generator) moment() int { return g.IntN(1 << (4 + g.IntN(10))) }

// writer chooses who is next: mostly the one that has locks, so that not all is busy.
func (g *generator) writer() int {
	for i := range g.profile.writers {
		if w := &g.writers[i]; (w.inTxn || w.exclusive) && g.IntN(10) < 8 {
			return i
		}
	}
	return g.IntN(g.profile.writers)
}

// fileOp replaces the database, by a copy mostly.
func (g *generator) fileOp(who int) op {
	if g.IntN(4) == 0 {
		return op{who, "persist", ""}
	}
	what := g.pick("restore", "restore", "remove", "mv", "cp", "rename")
	if what == "restore" {
		g.queue = append(g.queue, g.changeOp(who), g.changeOp(who), op{who, what, ""})
	} else {
		for i := range g.profile.writers {
			g.queue = append(g.queue, op{i, "close", ""})
		}
		g.queue = append(g.queue, op{who, "files", what}, op{who, "open", ""})
		g.createAll(who, "")
	}
	return op{who, "sql", "VACUUM INTO '{dir}/" + copyName + "'"}
}

func (g *generator) changeOp(who int) op { return op{who, "sql", g.change(&writer{})} }

// openBy opens a connection, sometimes one that is exclusive from the start: its WAL has no wal-index file.
func (g *generator) openBy(who int) op {
	if g.exclusive && g.IntN(50) < g.profile.exclusive {
		g.queue = append(g.queue, op{who, "sql", "PRAGMA locking_mode=EXCLUSIVE"})
	}
	return op{who, "open", g.query()}
}

// query is what an open has in its URI.
func (g *generator) query() string {
	switch g.IntN(6) {
	case 0:
		return "psow=0"
	case 1:
		return "psow=1"
	}
	return ""
}

func (g *generator) statement(w *writer) string {
	n := g.IntN(1000)
	if w.unjournaled {
		return g.unjournaledStatement(w, n)
	}
	if w.inTxn {
		return g.inTransaction(w, n)
	}
	switch {
	case n < 120:
		return "BEGIN" + g.pick("", " DEFERRED", " IMMEDIATE", " IMMEDIATE", " EXCLUSIVE")
	case n < 140:
		w.savepoints = 1
		return "SAVEPOINT s1"
	case n < 330:
		return g.pragma(w)
	case n < 350:
		return "VACUUM"
	case n < 355:
		return g.pick("PRAGMA temp_store=FILE", "PRAGMA temp_store=MEMORY")
	case n < 365 && g.attach:
		if w.attached {
			return "DETACH aux"
		}
		g.createAll(g.index(w), "aux.")
		return "ATTACH '{dir}/db2' AS aux"
	}
	return g.change(w)
}

func (g *generator) pick(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g *generator) index(w *writer) int {
	for i := range g.writers {
		if w == &g.writers[i] {
			return i
		}
	}
	panic("not one of ours")
}

// schema is the database that a statement speaks of.
func (g *generator) schema(w *writer) string {
	if w.attached && g.IntN(3) == 0 {
		return "aux."
	}
	return ""
}
