package stream

import (
	"fmt"
	"time"
)

// Standing is how a follower stands, as its upstream knows it, at a time. The upstream says it as a stream begins, and
// answers acknowledgements with it: beside the stream, on which all waits for what was sent before, and with what only it
// knows, when that was committed which the follower has still to get.
type Standing struct {
	At    time.Time     // by the upstream's clock
	TXID  TXID          // what the follower is to get
	Lag   time.Duration // for how long it has not had that
	Bytes int64         // of the log, to there
}

// standingHeader has a Standing as text.
const standingHeader = "Weir-Standing"

func (s Standing) String() string {
	return fmt.Sprintf("%d %d %d %d", s.At.UnixNano(), s.TXID, s.Lag, s.Bytes)
}

func parseStanding(text string) (s Standing, ok bool) {
	var at int64
	var txid uint64
	n, err := fmt.Sscanf(text, "%d %d %d %d", &at, &txid, &s.Lag, &s.Bytes)
	s.At, s.TXID = time.Unix(0, at), TXID(txid)
	return s, n == 4 && err == nil && s.Lag >= 0 && s.Bytes >= 0
}

// standing is where the follower stands.
func (c *connected) standing(l *Log, now time.Time) Standing {
	st := c.status(l, now)
	return Standing{At: now, TXID: st.Pos.TXID + TXID(st.LagTxns), Lag: st.Lag, Bytes: st.Bytes}
}

// standingAt is where a follower stands that comes with a position.
func standingAt(pos Pos, l *Log, now time.Time) Standing {
	c := connected{since: now, acked: ack{pos: pos, arrived: now, of: l.Published().TXID}}
	return c.standing(l, now)
}
