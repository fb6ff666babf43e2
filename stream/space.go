package stream

import (
	"errors"
	"syscall"
)

// makeRoom gives back what the log can do without, where err says that the disk is full: the log only saves followers a
// delta, and the disk is the database's. All but the newest two segments go, however recent. What was set aside stays: it
// is nowhere else. The caller holds mu, and tries again when it is asked to.
func (l *Log) makeRoom(err error) {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return
	}
	dropped := 0
	for len(l.segs) > 2 && l.segs[0].last().TXID <= l.published.TXID {
		if l.dir.Remove(l.segs[0].name) != nil {
			break
		}
		l.segs = l.segs[1:]
		dropped++
	}
	if dropped > 0 {
		l.opt.Logger.Warn("the disk is full: removed old log segments; followers that need them get the pages that differ", "dir", l.dir.Name(), "segments", dropped)
	}
}
