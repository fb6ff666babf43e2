package main

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is how far a command is, on standard error where that is a terminal.
type progress struct {
	bar  *progressbar.ProgressBar // made at the first number; nil: shown to nobody
	std  stdio
	next time.Time // when it changes at the earliest
}

// progressEvery is how often progress changes at most.
const progressEvery = 100 * time.Millisecond

func newProgress(std stdio) *progress { return &progress{std: std} }

// set shows that done of total are done, if it is time to.
func (p *progress) set(done, total uint64) {
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(progressEvery)
	if p.bar == nil {
		p.bar = newBar(p.std, int(total))
	}
	p.bar.ChangeMax64(int64(total))
	p.bar.Set64(int64(done))
}

// clear takes it off the terminal.
func (p *progress) clear() {
	if p.bar != nil {
		p.bar.Finish()
		p.bar = nil
	}
}
