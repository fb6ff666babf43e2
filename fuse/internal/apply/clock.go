package apply

import "time"

// clock is an upstream's, as it shows in what is heard of it: clocks differ, and lags are measured by the replica's. What
// was heard soonest says best by how much. What the upstream answers was said after it was asked: so that is
// mended where one of the two is set or goes faster.
type clock struct {
	known bool
	ahead time.Duration // the replica's clock before the upstream's, at most
}

// sent is when that was sent, by the replica's clock, which is heard now and was sent at a time by the upstream's.
func (c *clock) sent(at, now time.Time) time.Time {
	if ahead := now.Sub(at); !c.known || ahead < c.ahead {
		*c = clock{true, ahead}
	}
	return c.own(at)
}

// answered notes an answer that was given at a time by the upstream's clock, and asked for by the replica's.
func (c *clock) answered(at, asked time.Time) {
	if ahead := asked.Sub(at); c.known && ahead > c.ahead {
		c.ahead = ahead
	}
}

// own is a time by the replica's clock.
func (c *clock) own(at time.Time) time.Time { return at.Add(c.ahead) }
