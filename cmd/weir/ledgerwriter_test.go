package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/mattn/go-sqlite3"
)

// load is what a writer does, as JSON on its command line.
type load struct {
	Writer int64 // its row in the table writer
	Seed   uint64
	DBs    []ledger
	Pause  time.Duration // between two transactions, on average; 0: none
}

// ledger is how a writer uses one database.
type ledger struct {
	Path     string
	Pragmas  string   // on each new connection, after the journal mode
	Modes    []string // the journal mode, or several among which it changes now and then
	MaxItems int64

	Reopen     bool // a connection for each transaction
	NoRollback bool // with journal_mode=OFF SQLite can't
	Steady     bool // commit, and nothing else
}

// writer is a process that changes databases, and says of each transaction that it is committed.
type writer struct {
	load
	rnd  *rand.Rand
	open []*sql.DB // one of each of DBs, nil while it is closed
	n    []int64   // transactions committed in each
	mode []string  // the current of Modes
}

// childLoad writes until standard input ends. After each commit that SQLite acknowledges it prints the database's index
// and the number of the transaction, in one write, so that what was printed survives a kill.
func childLoad(config string) error {
	w := new(writer)
	if err := json.Unmarshal([]byte(config), &w.load); err != nil {
		return err
	}
	w.rnd = rand.New(rand.NewPCG(w.Seed, uint64(w.Writer)))
	w.open, w.n = make([]*sql.DB, len(w.DBs)), make([]int64, len(w.DBs))
	for _, l := range w.DBs {
		w.mode = append(w.mode, l.Modes[0])
	}
	ctx := untilEOF(context.Background(), os.Stdin)
	for ctx.Err() == nil {
		if err := w.act(w.rnd.IntN(len(w.DBs))); err != nil {
			return err
		}
		if w.Pause > 0 {
			pause(ctx, time.Duration(w.rnd.Int64N(int64(2*w.Pause))))
		}
	}
	for i := range w.open {
		if err := w.close(i); err != nil {
			return err
		}
	}
	return nil
}

// act does one thing to one database. What another process's lock prevents is left undone.
func (w *writer) act(i int) error {
	err := w.connect(i)
	if err == nil {
		err = w.step(i)
	}
	if isBusy(err) {
		err = nil
	}
	if err == nil && w.DBs[i].Reopen {
		err = w.close(i)
	}
	return err
}

func isBusy(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked)
}

func (w *writer) connect(i int) error {
	if w.open[i] != nil {
		return nil
	}
	db, err := openLedger(w.DBs[i].Path)
	if err != nil {
		return err
	}
	w.open[i] = db
	if _, err := db.Exec("PRAGMA journal_mode = " + w.mode[i]); err != nil && !isBusy(err) {
		return fmt.Errorf("set journal mode %s: %w", w.mode[i], err)
	}
	_, err = db.Exec(w.DBs[i].Pragmas)
	return err
}

func (w *writer) close(i int) error {
	if w.open[i] == nil {
		return nil
	}
	err := w.open[i].Close()
	w.open[i] = nil
	return err
}

// step is one transaction, or something that commits nothing.
func (w *writer) step(i int) error {
	db, l := w.open[i], w.DBs[i]
	switch k := w.rnd.IntN(1000); {
	case l.Steady:
	case k < 30 && !l.NoRollback:
		return w.rollback(db)
	case k < 60:
		mode := []string{"PASSIVE", "FULL", "RESTART", "TRUNCATE"}[w.rnd.IntN(4)]
		return try(db, "PRAGMA wal_checkpoint("+mode+")")
	case k < 63:
		return try(db, "VACUUM")
	case k < 90 && len(l.Modes) > 1:
		w.mode[i] = l.Modes[w.rnd.IntN(len(l.Modes))]
		return try(db, "PRAGMA journal_mode = "+w.mode[i])
	}
	return w.commit(i)
}

func try(db *sql.DB, query string) error {
	if _, err := db.Exec(query); err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	return nil
}

// commit commits one transaction and says so.
func (w *writer) commit(i int) error {
	tx, err := w.open[i].Begin()
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback() // does nothing after a commit
	if err := w.change(tx, w.DBs[i]); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	w.n[i]++
	_, err = fmt.Fprintf(os.Stdout, "%d %d\n", i, w.n[i])
	return err
}

// rollback changes much and takes it back.
func (w *writer) rollback(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer tx.Rollback()
	for range 2 {
		if _, err := tx.Exec("UPDATE item SET v = 0, filler = zeroblob(length(filler)) WHERE id % 7 = ?", w.rnd.IntN(7)); err != nil {
			return fmt.Errorf("what is rolled back: %w", err)
		}
	}
	return nil
}

// change is what a transaction does: one of the changes, then what keeps the tables in agreement.
func (w *writer) change(tx *sql.Tx, l ledger) error {
	todo := w.statements(l.NoRollback)
	todo = append(todo,
		statement{"DELETE FROM item WHERE id <= (SELECT max(id) FROM item) - ?", []any{l.MaxItems}},
		statement{"INSERT INTO writer VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1", []any{w.Writer}},
		statement{`UPDATE proof SET n = (SELECT sum(n) FROM writer), items = (SELECT count(*) FROM item INDEXED BY item_v),
			total = (SELECT coalesce(sum(v), 0) FROM item INDEXED BY item_v)`, nil})
	for _, s := range todo {
		if _, err := tx.Exec(s.query, s.args...); err != nil {
			return fmt.Errorf("%.40s: %w", s.query, err)
		}
	}
	return nil
}

type statement struct {
	query string
	args  []any
}

// updateItems changes a share of the items.
const updateItems = "UPDATE item SET v = v + 1, filler = filler(v + 1, length(filler)) WHERE id % ? = ?"

// insertItems adds a number of items, of some bytes each.
const insertItems = `WITH RECURSIVE k (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM k WHERE i < ?1)
	INSERT INTO item (v, filler) SELECT i * ?2, filler(i * ?2, ?3) FROM k`

func (w *writer) statements(noRollback bool) []statement {
	n := func(max int) int64 { return w.rnd.Int64N(int64(max)) }
	switch k := w.rnd.IntN(100); {
	case k < 40:
		return []statement{{insertItems, []any{1 + n(20), n(1e6), n(3000)}}}
	case k < 45: // on overflow pages
		return []statement{{insertItems, []any{1, n(1e6), n(200_000)}}}
	case k < 85:
		return []statement{{updateItems, []any{53, n(53)}}}
	case k < 92:
		return []statement{{"DELETE FROM item WHERE id % 61 = ?", []any{n(61)}}}
	case k < 94: // more than the cache holds
		return []statement{{updateItems, []any{5, n(5)}}}
	case k < 97 && !noRollback:
		return []statement{{"SAVEPOINT s", nil}, {"DELETE FROM item WHERE id % 3 = 0", nil}, {"ROLLBACK TO s", nil}, {updateItems, []any{101, n(101)}}}
	}
	return []statement{
		{"DROP TABLE IF EXISTS extra", nil},
		{"CREATE TABLE extra AS SELECT * FROM item WHERE id % 11 = ?", []any{n(11)}},
		{"DROP INDEX item_v", nil},
		{"CREATE INDEX item_v ON item (v)", nil},
	}
}
