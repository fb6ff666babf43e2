package oracle

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"weir/stream"
)

// Commits without a rollback journal (journal_mode MEMORY and OFF) can't be told one by one where nothing is synced. For
// them the oracle is loose: the stream may be late, and may have several commits in one transaction, but every state in
// it is one that was committed. Once no writer works so any more, the stream must be there with the next commit.

// loosen notes whether a writer has a journal mode without a journal.
func (p *pair) loosen(o op, a answer) {
	switch {
	case o.verb == "remount":
		p.loose = [writers]bool{}
	case o.verb == "close" || o.verb == "kill":
		p.loose[o.who] = false
	case len(a.Rows) == 1 && (a.Rows[0] == "[memory]" || a.Rows[0] == "[off]"):
		p.loose[o.who] = true
		p.inTxn[o.who] = a.Open
	case len(a.Rows) == 1 && slices.Contains([]string{"[delete]", "[truncate]", "[persist]", "[wal]"}, a.Rows[0]):
		p.loose[o.who] = false
	}
	p.inTxn[o.who] = a.Open
}

// isLoose tells whether there is such a writer.
func (p *pair) isLoose() bool { return slices.Contains(p.loose[:], true) }

// unsettled tells whether such a writer is within a transaction, so that the file may hold anything.
func (p *pair) unsettled() bool {
	for i := range writers {
		if p.loose[i] && p.inTxn[i] {
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
	pos, err = f.primary.await(timeout, func(_ stream.Pos, st *state) bool { return st.equal(f.last) })
	f.txid = pos.TXID
	f.pending = errors.Is(err, errLate)
	if f.pending && !must {
		err = nil
	}
	if f.pending && must {
		err = f.primary.explain(f.last)
	}
	for _, sum := range f.primary.take() {
		if !f.committed[sum] && err == nil && !f.replaced {
			err = fmt.Errorf("at %s or before, a state that was never committed (%s)", pos, sum)
		}
	}
	return pos, err
}
