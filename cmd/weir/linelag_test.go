package main

import (
	"fmt"
	"testing"
	"time"

	"weir/stream"
)

// commits are the times of a primary's transactions.
type commits struct {
	first stream.TXID
	at    []time.Time // of it and those that follow
}

// lag is for how long a replica at a position has lacked something.
func (c commits) lag(pos stream.Pos, now time.Time) time.Duration {
	if lacks := int(pos.TXID) + 1 - int(c.first); lacks < len(c.at) {
		return now.Sub(c.at[max(0, lacks)])
	}
	return 0
}

// On a line that takes less than is written, both sides say for how long the replica has really lacked what it lacks, with
// full buffers before each heartbeat, and after it was away.
func TestLagOnSlowLine(t *testing.T) {
	skipRaced(t)
	// Heartbeats, acknowledgements and the sampling, on a busy machine. Where it stands still, more is said, and not less.
	const exact, every = 3 * time.Second, 500 * time.Millisecond
	w := newNetwork(t, 2)
	primary, replica := startPairOn(t, w)
	awaitFollowers(t, primary, 1)
	st, err := primary.status()
	if err != nil {
		t.Fatal(err)
	}
	done := commits{first: st.Pos.TXID + 1}
	write := func() {
		t.Helper()
		shell(t, primary.db, "INSERT INTO item (v, filler) VALUES (0, randomblob(8000))")
		done.at = append(done.at, time.Now())
	}
	longest := time.Duration(0)
	// since is where the replica was when it was last told how it stands, if that is known.
	check := func(when string, since stream.Pos) {
		t.Helper()
		own, err := replica.status()
		now := time.Now()
		up, upErr := primary.status()
		if err != nil || upErr != nil {
			t.Fatal(err, upErr)
		}
		want := done.lag(own.Pos, now)
		longest = max(longest, want)
		says := fmt.Sprintf("%s: the replica says %v (%d transactions), the primary %+v", when, own.Lag, own.LagTxns, up.Streams)
		if most := done.lag(since, now); own.Lag < want-exact || own.Lag > max(want, most)+3*exact {
			t.Errorf("got a lag of %v, want %v; %s", own.Lag, want, says)
		}
		if len(up.Streams) != 1 {
			return // it comes and goes
		}
		if f, want := up.Streams[0], done.lag(up.Streams[0].Pos, time.Now()); f.Lag < want-exact || f.Lag > max(want, done.lag(since, now))+3*exact {
			t.Errorf("the primary: got a lag of %v, want %v; %s", f.Lag, want, says)
		}
		t.Logf("really %v; %s", want, says)
	}
	replica.line.set(impairment{delay: 20 * time.Millisecond, rate: 8000})
	for i := range 24 {
		write()
		time.Sleep(every)
		if i > 4 {
			check("slow", stream.Pos{TXID: 1 << 62})
		}
	}
	if longest < 2*exact {
		t.Errorf("the line was no more than %v behind: this shows nothing", longest)
	}
	away, err := replica.status()
	if err != nil {
		t.Fatal(err)
	}
	replica.stop()
	for range 6 {
		write()
		time.Sleep(every)
	}
	replica.start()
	replica.awaitStatus("what it lacks", func(s stream.Status) bool { return s.Connected && s.LagTxns > 0 })
	time.Sleep(time.Second) // for an answer
	check("back", away.Pos)
	replica.line.set(impairment{})
	awaitEqual(t, primary, replica)
	replica.awaitStatus("no lag", func(s stream.Status) bool { return s.Connected && s.Lag == 0 })
}
