package oracle

import "fmt"

// tables is how many tables there can be, t0 and so on; odd ones are WITHOUT ROWID.
const tables = 4

// largePages is the size from which a database is made smaller rather than larger.
const largePages = 1500

func (g *generator) table(w *writer) string { return fmt.Sprintf("%st%d", g.schema(w), g.IntN(tables)) }

func (g *generator) createTableIn(schema string, n int) string {
	if n%2 == 1 {
		return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %st%d(k INT PRIMARY KEY, id INT, v BLOB, s TEXT) WITHOUT ROWID", schema, n)
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %st%d(id INTEGER PRIMARY KEY, k INT UNIQUE, v BLOB, s TEXT)", schema, n)
}

// change makes a statement that changes the database, or reads it.
func (g *generator) change(w *writer) string {
	n := g.IntN(100)
	if g.pages() > largePages {
		n = 70 + g.IntN(30)
	}
	switch {
	case n < 45:
		return g.insert(w)
	case n < 60:
		return g.update(w)
	case n < 63:
		return fmt.Sprintf("UPDATE %s SET k=k+1 WHERE k%%100 < %d", g.table(w), g.IntN(40)) // may fail half-way
	case n < 70:
		return g.createTableIn(g.schema(w), g.IntN(tables))
	case n < 74:
		return g.index4(w)
	case n < 76:
		return g.temporary(w)
	case n < 80:
		return "SELECT count(*), sum(k), sum(length(v)), max(s) FROM " + g.table(w)
	case n < 92:
		m := 2 + g.IntN(20)
		return fmt.Sprintf("DELETE FROM %s WHERE abs(k)%%%d <= %d", g.table(w), m, g.IntN(m))
	case n < 97:
		return "DELETE FROM " + g.table(w)
	}
	schema, t := g.schema(w), g.IntN(tables)
	if g.IntN(4) > 0 {
		g.queue = append(g.queue, op{g.last, "sql", g.createTableIn(schema, t)})
	}
	return fmt.Sprintf("DROP TABLE IF EXISTS %st%d", schema, t)
}

// temporary makes a statement that needs temporary files: a table, or the sorter.
func (g *generator) temporary(w *writer) string {
	switch g.IntN(5) {
	case 0:
		return "CREATE TEMP TABLE IF NOT EXISTS x(id, v)"
	case 1:
		return "DROP TABLE IF EXISTS temp.x"
	case 2:
		return "INSERT INTO " + g.table(w) + "(k,v) SELECT id*7%3000, v FROM temp.x WHERE true ON CONFLICT DO NOTHING"
	case 3:
		return "SELECT count(*), min(v) FROM (SELECT v FROM " + g.table(w) + " ORDER BY v)"
	}
	return "INSERT INTO temp.x SELECT id, v FROM " + g.table(w) + " LIMIT 100"
}

// index4 creates or drops an index.
func (g *generator) index4(w *writer) string {
	schema, n, column := g.schema(w), g.IntN(tables), g.pick("s", "v", "id")
	if g.IntN(3) == 0 {
		return fmt.Sprintf("DROP INDEX IF EXISTS %si%d%s", schema, n, column)
	}
	return fmt.Sprintf("CREATE INDEX IF NOT EXISTS %si%d%s ON t%d(%s)", schema, n, column, n, column)
}

// insert makes an insert of one row or many, whose keys may be there already: then it fails half-way or not, by its
// conflict clause.
func (g *generator) insert(w *writer) string {
	return g.insertBy(w, g.pick("", "", "", " OR REPLACE", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ABORT", " OR ROLLBACK"))
}

func (g *generator) insertBy(w *writer, clause string) string {
	g.k++
	rows := 1
	if g.IntN(2) == 0 {
		rows += g.IntN(g.profile.rows)
	}
	size := g.IntN(g.profile.blob)
	if rows > 40 {
		size = min(size, 2000)
	}
	return fmt.Sprintf("INSERT%s INTO %s(k,v,s) WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<%d) SELECT %d+(i*7)%%%d, blob(%d+i,%d), hex(blob(i,%d)) FROM n",
		clause, g.table(w), rows-1, g.IntN(300)*10, rows, g.k*1000, size, g.IntN(40))
}

func (g *generator) update(w *writer) string {
	g.k++
	m := 1 + g.IntN(20)
	return fmt.Sprintf("UPDATE %s SET v=blob(%d+k,%d) WHERE k%%%d=%d", g.table(w), g.k*1000, g.IntN(g.profile.blob), m, g.IntN(m))
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
