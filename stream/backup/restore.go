package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/superfly/ltx"

	"weir/stream"
)

// ErrNotReached says that a log or directory does not have a state that was asked for.
var ErrNotReached = errors.New("that state can't be built")

// Target is a state of a database; the zero one the newest.
type Target struct {
	TXID stream.TXID
	Time time.Time // the state as of then
}

// Restored is a state that was built.
type Restored struct {
	stream.SnapshotHeader
	Time time.Time // of its last transaction
}

// RestoreLog builds the database as of target in f, from a log that has all transactions there ever were.
func RestoreLog(ctx context.Context, l Log, target Target, f *os.File, progress func(done, total uint64)) (Restored, error) {
	if l.First() != (stream.Pos{}) {
		return Restored{}, fmt.Errorf("%w: the log has the transactions %s to %s, and not the database before them", ErrNotReached, l.First().TXID+1, l.Last().TXID)
	}
	if target.TXID > l.Last().TXID {
		return Restored{}, fmt.Errorf("%w: the log has the states %s to %s", ErrNotReached, stream.TXID(1), l.Last().TXID)
	}
	r := &restore{image: newImage(f), target: target}
	for {
		payload, n, err := next(ctx, l)
		if err == nil {
			err = r.apply(payload, n)
		}
		if err == io.EOF {
			return r.result()
		}
		if err != nil {
			return Restored{}, err
		}
		progress(uint64(r.image.pos.TXID), uint64(l.Last().TXID))
	}
}

// RestoreDirectory builds the database as of target in f, from the LTX files in dir.
func RestoreDirectory(ctx context.Context, dir string, target Target, f *os.File, progress func(done, total uint64)) (Restored, error) {
	files, err := listFiles(dir)
	if err != nil {
		return Restored{}, err
	}
	plan, err := plan(files, target)
	if err != nil {
		return Restored{}, fmt.Errorf("%s: %w", dir, err)
	}
	r := &restore{image: newImage(f), target: target}
	l := &dirLog{files: plan}
	defer l.Close()
	for i, file := range plan {
		payload, n, err := next(ctx, l)
		if err == nil {
			err = r.apply(payload, n)
		}
		if err != nil {
			return Restored{}, fmt.Errorf("%s: %w", file.path, err)
		}
		progress(uint64(i+1), uint64(len(plan)))
	}
	return r.result()
}

// restore is a database on its way to a target.
type restore struct {
	image  *image
	target Target
	time   time.Time
	first  time.Time // of the first transaction that is too late
}

// apply applies a transaction; io.EOF says that it is too late.
func (r *restore) apply(payload io.Reader, n int64) error {
	t, err := stream.NewRangeReader(buffered(payload), n)
	if err != nil {
		return err
	}
	at := time.UnixMilli(t.Header().Timestamp)
	if r.target.passed(t.Header()) {
		r.first = at
		return io.EOF
	}
	if err := r.image.apply(t); err != nil {
		return err
	}
	r.time = at
	return r.image.check()
}

func (r *restore) result() (Restored, error) {
	if r.image.pos == (stream.Pos{}) {
		return Restored{}, fmt.Errorf("%w: there is none before %s", ErrNotReached, stamp(r.first))
	}
	return Restored{r.image.header(), r.time}, nil
}

// passed tells whether a file leads beyond the target.
func (t Target) passed(h ltx.Header) bool {
	return t.TXID != 0 && h.MaxTXID > t.TXID || !t.Time.IsZero() && h.Timestamp > t.Time.UnixMilli()
}

// plan chooses the files that lead to target: a whole database, and what follows it.
func plan(files []ltxFile, target Target) ([]ltxFile, error) {
	var chain []ltxFile
	for next := stream.TXID(1); ; next = chain[len(chain)-1].max + 1 {
		f, late, err := longest(files, next, target)
		if err != nil {
			return nil, err
		}
		if f.path == "" {
			return chain, reached(files, chain, late, target)
		}
		chain = append(chain, f)
	}
}

// longest is the file from TXID next on that leads furthest and not beyond target; late is one that does.
func longest(files []ltxFile, next stream.TXID, target Target) (f, late ltxFile, err error) {
	for _, g := range files {
		if g.min != next {
			continue
		}
		h, err := g.header()
		if err != nil {
			return f, late, err
		}
		if target.passed(h) {
			late = g
			break // those after it lead further
		}
		f = g
	}
	return f, late, nil
}

// reached tells whether the chain ends at target, where late is the file after it.
func reached(files, chain []ltxFile, late ltxFile, target Target) error {
	if len(chain) == 0 {
		return fmt.Errorf("%w: it has %s", ErrNotReached, states(files))
	}
	end := chain[len(chain)-1].max
	switch {
	case target.TXID != 0 && end == target.TXID,
		target == Target{} && end == newest(files).max,
		!target.Time.IsZero() && (end == newest(files).max || late.min == late.max && late.path != ""):
		return nil
	case target == Target{}:
		return fmt.Errorf("%w: %s does not follow what leads to %s; it has %s", ErrNotReached, newest(files).path, end, states(files))
	}
	return fmt.Errorf("%w: it has %s", ErrNotReached, states(files))
}

// states says in words which states the files lead to.
func states(files []ltxFile) string {
	ends := make(map[stream.TXID]bool) // of files that lead on from a whole database
	for _, f := range files {          // by their first transaction
		if f.min == 1 || ends[f.min-1] {
			ends[f.max] = true
		}
	}
	if len(ends) == 0 {
		return "no whole database: a file that begins with transaction " + stream.TXID(1).String()
	}
	var text string
	for _, r := range runs(ends) {
		if text += ", "; r[0] == r[1] {
			text += r[0].String()
		} else {
			text += r[0].String() + " to " + r[1].String()
		}
	}
	return "the states " + text[2:]
}

// runs are the first and last of those that follow one another.
func runs(set map[stream.TXID]bool) (runs [][2]stream.TXID) {
	var all []stream.TXID
	for id := range set {
		all = append(all, id)
	}
	slices.Sort(all)
	for _, id := range all {
		if n := len(runs); n > 0 && runs[n-1][1]+1 == id {
			runs[n-1][1] = id
		} else {
			runs = append(runs, [2]stream.TXID{id, id})
		}
	}
	return runs
}

func stamp(t time.Time) string { return t.UTC().Format(ltx.RFC3339Milli) }
