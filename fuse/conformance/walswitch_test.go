package conformance

import "testing"

// A second connection stays open over switches between WAL and the rollback modes that it allows.
func TestJournalModeSwitchesBesideAnother(t *testing.T) {
	for _, mode := range []string{"DELETE", "TRUNCATE", "PERSIST"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := newPair(t)
			c, other := p.open(), p.open()
			p.run(c, seed)
			for range 3 {
				p.run(c, "PRAGMA journal_mode = WAL", insert)
				p.run(other, update)
				c.fail("PRAGMA journal_mode = "+mode, "locked") // WAL ends only with the last connection
				other.close()
				p.run(c, "PRAGMA journal_mode = "+mode, insert)
				other = p.open()
				p.run(other, "PRAGMA journal_mode = "+mode, update)
				p.run(c, remove)
			}
			c.close()
			other.close()
			p.check()
		})
	}
}
