package oracle

import "fmt"

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
		return "PRAGMA " + g.journalSchema(w) + "journal_mode=" + g.journalModeFor(w)
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
	return "PRAGMA " + g.schema(w) + "user_version=" + fmt.Sprint(g.IntN(1000))
}

// journalSchema is the database whose journal mode is set: with modes that can't undo, all of a writer's have one mode,
// so that it is known whether the writer can.
func (g *generator) journalSchema(w *writer) string {
	if g.unjournaled {
		return ""
	}
	return g.schema(w)
}
