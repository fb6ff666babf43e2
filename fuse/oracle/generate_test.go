package oracle

import (
	"fmt"
	"math/rand/v2"
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
	w := &g.writers[o.who]
	switch o.verb {
	case "open":
		w.open = w.open || a.Err == ""
	case "close", "kill":
		*w = writer{}
	case "remount":
		g.writers = [writers]writer{}
		return
	case "restart":
		return
	case "sql":
		g.sqlAnswered(w, o.arg, a)
	}
	if o.verb != "hold" && o.verb != "release" {
		g.last = o.who
		w.inTxn = a.Open
	}
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
	who := g.writer()
	w := &g.writers[who]
	n := g.IntN(1000)
	switch {
	case n < 8:
		return op{1 + g.IntN(writers-1), "hold", ""}
	case n < 24:
		return op{1 + g.IntN(writers-1), "release", ""}
	case n < 27 && g.restart:
		return g.restartWeir()
	case !w.open:
		return g.openBy(who)
	case n < 33 && g.files && !w.inTxn:
		return g.fileOp(who)
	case n < 40 && g.kill && !(w.unjournaled && w.inTxn):
		return op{who, "kill", ""}
	case n < 50:
		return op{who, "close", ""}
	}
	return op{who, "sql", g.statement(w)}
}

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
	what := g.pick("restore", "restore", "remove", "mv", "cp")
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

// restartWeir makes weir end and begin again, on both sides or on the replica's.
func (g *generator) restartWeir() op {
	var statement string
	if g.IntN(2) == 0 {
		statement = g.change(&writer{})
	}
	return op{0, g.pick("remount", "restart"), statement}
}

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
	case n < 365 && g.attach:
		if w.attached {
			return "DETACH aux"
		}
		g.createAll(g.index(w), "aux.")
		return "ATTACH '{dir}/db2' AS aux"
	}
	return g.change(w)
}

// unjournaledStatement makes one that needs no rollback: with journal_mode=OFF there is none.
func (g *generator) unjournaledStatement(w *writer, n int) string {
	switch {
	case w.inTxn && n < 300:
		return "COMMIT"
	case n < 100 && !w.inTxn:
		return "BEGIN IMMEDIATE" // so that nobody commits between its statements
	case n < 300 && !w.inTxn:
		return "PRAGMA journal_mode=" + g.journalMode()
	case n < 400 && !w.inTxn:
		return g.pragma(w)
	case n < 600:
		return g.update(w)
	case n < 650:
		return fmt.Sprintf("DELETE FROM t%d WHERE abs(k)%%3 <= %d", g.IntN(tables), g.IntN(3))
	}
	return g.insertBy(w, g.pick(" OR REPLACE", " OR IGNORE"))
}

func (g *generator) inTransaction(w *writer, n int) string {
	switch {
	case n < 130:
		return "COMMIT"
	case n < 170:
		return "ROLLBACK"
	case n < 230:
		w.savepoints++
		return fmt.Sprintf("SAVEPOINT s%d", w.savepoints)
	case n < 290 && w.savepoints > 0:
		return fmt.Sprintf("ROLLBACK TO s%d", 1+g.IntN(w.savepoints))
	case n < 320 && w.savepoints > 0:
		w.savepoints--
		return fmt.Sprintf("RELEASE s%d", w.savepoints+1)
	case n < 360:
		return g.pragma(w)
	}
	return g.change(w)
}

func (g *generator) pick(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g *generator) journalMode() string {
	if g.unjournaled && g.IntN(2) == 0 {
		return g.pick("MEMORY", "OFF")
	}
	if g.IntN(10) < g.profile.walModes {
		return "WAL"
	}
	return g.pick("DELETE", "TRUNCATE", "PERSIST")
}

// journalModeFor leaves out those with which SQLite can't undo the transaction that has begun.
func (g *generator) journalModeFor(w *writer) string {
	mode := g.journalMode()
	if w.inTxn && (mode == "MEMORY" || mode == "OFF") {
		return "DELETE"
	}
	return mode
}

func (g *generator) pragma(w *writer) string {
	if n := g.IntN(1000); n < g.profile.switches*5 {
		return "PRAGMA " + g.schema(w) + "journal_mode=" + g.journalModeFor(w)
	} else if g.exclusive && n < g.profile.switches*5+g.profile.exclusive*5 || w.exclusive && n < 200 {
		return "PRAGMA locking_mode=" + g.pick("EXCLUSIVE", "NORMAL")
	}
	switch g.IntN(16) {
	case 0:
		return "PRAGMA synchronous=" + g.pick("OFF", "NORMAL", "FULL", "EXTRA")
	case 1:
		return "PRAGMA wal_autocheckpoint=" + g.pick("0", "1", "5", "30", "1000")
	case 2, 3, 4:
		return "PRAGMA wal_checkpoint(" + g.pick("PASSIVE", "FULL", "RESTART", "TRUNCATE") + ")"
	case 5:
		return "PRAGMA journal_size_limit=" + g.pick("-1", "0", "1000", "100000")
	case 6:
		g.queue = append(g.queue, op{g.index(w), "sql", "VACUUM"})
		return fmt.Sprintf("PRAGMA page_size=%d", 512<<g.IntN(8))
	case 7:
		g.queue = append(g.queue, op{g.index(w), "sql", "VACUUM"})
		return "PRAGMA auto_vacuum=" + g.pick("NONE", "FULL", "INCREMENTAL")
	case 8, 9:
		return fmt.Sprintf("PRAGMA incremental_vacuum(%d)", g.IntN(30))
	case 10:
		return "PRAGMA secure_delete=" + g.pick("OFF", "ON", "FAST")
	case 11:
		return "PRAGMA cache_size=" + g.pick("1", "5", "20", "-2000")
	case 12:
		return "PRAGMA cache_spill=" + g.pick("1", "3", "ON", "OFF")
	case 13:
		return "PRAGMA mmap_size=" + g.pick("0", "65536", "1000000000")
	case 14:
		return "PRAGMA integrity_check"
	}
	return "PRAGMA user_version=" + fmt.Sprint(g.IntN(1000))
}

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
