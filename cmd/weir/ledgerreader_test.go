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

// audits is what a reader does, as JSON on its command line.
type audits struct {
	DBs    []string
	Pause  time.Duration // between two audits
	Reopen bool          // a connection for each audit
	Once   bool          // audit once
}

// answer is what a reader prints, as JSON: an error, or at its end how many audits went well.
type answer struct {
	DB    string    `json:",omitempty"`
	At    time.Time // when the audit began
	Until time.Time // when it had failed
	Error string    `json:",omitempty"`
	Clean bool      `json:",omitempty"` // the error says that the file can't be read, and nothing about what is in it
	Good  int
}

// childAudits audits databases by turns until standard input ends, and goes on after errors.
func childAudits(config string) error {
	var a audits
	if err := json.Unmarshal([]byte(config), &a); err != nil {
		return err
	}
	ctx, out := untilEOF(context.Background(), os.Stdin), json.NewEncoder(os.Stdout)
	open, last, good := make([]*sql.DB, len(a.DBs)), make([]int64, len(a.DBs)), 0
	for i, more := 0, true; more && ctx.Err() == nil; i = (i + 1) % len(a.DBs) {
		more = !a.Once
		ans := answer{DB: a.DBs[i], At: time.Now()}
		n, err := auditReopened(&open[i], a.DBs[i])
		if err == nil && n < last[i] {
			err = fmt.Errorf("%w: there were %d transactions, and now there are %d", errNeverCommitted, last[i], n)
		}
		if err == nil {
			last[i] = n
			good++
		} else {
			ans.Until, ans.Error, ans.Clean = time.Now(), err.Error(), isClean(err)
			if err := out.Encode(ans); err != nil {
				return err
			}
		}
		if (a.Reopen || err != nil) && open[i] != nil {
			open[i].Close() // after an error on a dead mount that fails, too
			open[i] = nil
		}
		pause(ctx, a.Pause)
	}
	for _, db := range open {
		if db != nil {
			db.Close()
		}
	}
	return out.Encode(answer{At: time.Now(), Good: good})
}

// auditReopened audits with the connection that there is, or a new one.
func auditReopened(db **sql.DB, path string) (n int64, err error) {
	if *db == nil {
		if *db, err = openLedger(path); err != nil {
			return 0, err
		}
	}
	return auditLedger(*db, rand.Int64())
}

// isClean says whether an error is one that an app can tell from a wrong answer.
func isClean(err error) bool {
	var e sqlite3.Error
	return errors.As(err, &e) && (e.Code == sqlite3.ErrIoErr || e.Code == sqlite3.ErrCantOpen)
}
