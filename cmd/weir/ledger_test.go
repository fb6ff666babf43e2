package main

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mattn/go-sqlite3"
)

// ledgerSchema has tables that agree in every committed state: each writer's number of transactions, items and what
// proof says of both. Each item's filler follows from its v.
const ledgerSchema = `
CREATE TABLE writer (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, v INTEGER NOT NULL, filler BLOB NOT NULL);
CREATE INDEX item_v ON item (v);
CREATE TABLE proof (n INTEGER NOT NULL, items INTEGER NOT NULL, total INTEGER NOT NULL);
INSERT INTO proof VALUES (0, 0, 0);
`

// ledgerDriver is mattn's driver with the SQL function filler(v, n): n bytes that follow from v, one at least.
const ledgerDriver = "sqlite3-ledger"

func init() {
	sql.Register(ledgerDriver, &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return c.RegisterFunc("filler", filler, true)
	}})
}

// filler is a byte at least, for an empty result is NULL to the driver.
func filler(v, n int64) []byte {
	n = max(n, 1)
	word := binary.BigEndian.AppendUint64(nil, uint64(v)*0x9e3779b97f4a7c15)
	return bytes.Repeat(word, int(n/8)+1)[:n]
}

// openLedger opens a database as any program does. Transactions begin with the right to write.
func openLedger(path string) (*sql.DB, error) {
	db, err := sql.Open(ledgerDriver, "file:"+path+"?_busy_timeout=10000&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// errNeverCommitted is a state in which the tables do not agree.
var errNeverCommitted = errors.New("a state that was never committed")

// ledgerAudit is one statement, and so one state.
const ledgerAudit = `SELECT p.n, (SELECT coalesce(sum(n), 0) FROM writer),
	p.items, (SELECT count(*) FROM item NOT INDEXED), (SELECT count(*) FROM item INDEXED BY item_v),
	p.total, (SELECT coalesce(sum(v), 0) FROM item NOT INDEXED), (SELECT coalesce(sum(v), 0) FROM item INDEXED BY item_v),
	(SELECT count(*) FROM item WHERE id % 16 = ?1 AND filler <> filler(v, length(filler)))
	FROM proof p`

// auditLedger checks one state, and the fillers of every 16th item, and returns the number of transactions.
func auditLedger(db querier, random int64) (n int64, err error) {
	var writers, items, rows, entries, total, sum, indexed, wrong int64
	err = db.QueryRow(ledgerAudit, random%16).Scan(&n, &writers, &items, &rows, &entries, &total, &sum, &indexed, &wrong)
	if err != nil {
		var e sqlite3.Error
		errors.As(err, &e)
		return 0, fmt.Errorf("audit: %w (extended code %d)", err, e.ExtendedCode)
	}
	if n != writers || items != rows || items != entries || total != sum || total != indexed || wrong > 0 {
		return n, fmt.Errorf("%w: proof has %d transactions, writers %d; proof %d items, table %d, index %d; proof a total of %d, table %d, index %d; %d fillers are wrong",
			errNeverCommitted, n, writers, items, rows, entries, total, sum, indexed, wrong)
	}
	return n, nil
}

// querier is a database or a transaction.
type querier interface {
	QueryRow(query string, args ...any) *sql.Row
}
