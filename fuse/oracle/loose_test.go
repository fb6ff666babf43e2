package oracle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/fuse/fusetest"
	"weir/stream"
)

// Commits without a rollback journal (journal_mode MEMORY and OFF) can't be told one by one where nothing is synced. For
// them the oracle is loose: the stream may be late, and may have several commits in one transaction, but every state in
// it is one that was committed. Once no writer works so any more, the stream must be there with the next commit.

// loosen notes whether a writer has a journal mode without a journal.
func (p *pair) loosen(o op, a fusetest.Answer) {
	switch {
	case o.verb == "remount" || o.verb == "crash":
		p.loose, p.inTxn, p.attached = [writers]bool{}, [writers]bool{}, [writers]bool{}
	case o.verb == "close" || o.verb == "kill" || o.verb == "shoot":
		p.loose[o.who], p.attached[o.who] = false, false
	case a.Err == "" && strings.HasPrefix(o.arg, "ATTACH"):
		p.attached[o.who] = true
	case a.Err == "" && strings.HasPrefix(o.arg, "DETACH"):
		p.attached[o.who] = false
	case len(a.Rows) == 1 && (a.Rows[0] == "memory" || a.Rows[0] == "off"):
		p.loose[o.who] = true
	case len(a.Rows) == 1 && slices.Contains([]string{"delete", "truncate", "persist", "wal"}, a.Rows[0]):
		p.loose[o.who] = false
	}
	p.inTxn[o.who] = a.Open
}

// isLoose tells whether there is such a writer.
func (p *pair) isLoose() bool { return slices.Contains(p.loose[:], true) }

// unsettled tells whether such a writer is within a transaction, so that the file may hold anything.
func (p *pair) unsettled(f *followed) bool {
	for i := range writers {
		if p.loose[i] && p.inTxn[i] && (f == p.followed[0] || p.attached[i]) {
			return true
		}
	}
	return false
}

// awaitLoose waits, for a while, for the primary's stream to have the twin's state. must says that it has to come.
func (f *followed) awaitLoose(must bool) (pos stream.Pos, err error) {
	timeout := 20 * time.Millisecond
	if must {
		timeout = *flagLate
	}
	want := f.txid + f.passing
	err = f.Primary.Await(timeout, func() error {
		if _, pos := f.Primary.Pos(); pos.TXID < want {
			return f.explain()
		}
		return f.compare()
	})
	_, pos = f.Primary.Pos()
	f.txid, f.passing = pos.TXID, 0
	f.pending = errors.Is(err, fusetest.ErrLate)
	if f.pending && !must {
		err = nil
	}
	for _, passed := range f.Primary.Since(f.compared) {
		if !f.committed[passed.PostApplyChecksum] && err == nil && !f.replaced {
			err = fmt.Errorf("at %s, a state that was never committed", passed)
		}
		f.compared = passed.TXID
	}
	return pos, err
}
