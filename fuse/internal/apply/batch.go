package apply

import (
	"context"
	"errors"
	"fmt"
	"io"

	"weir/stream"
)

const (
	// batchBytes is how many bytes of transactions are applied in one go, or the first of them. It bounds how long readers
	// wait for the first transactions of a backlog, and what comes again after a crash.
	batchBytes = 256 << 10

	// batchFrames is how many bytes of frames they may lead to before others are.
	batchFrames = tailBuffer / 2
)

// Apply implements [stream.Replica]. Readers see the transaction when it returns, and see nothing of it where it fails.
// Those that are here already are published with it, in one go. Where one of them is not what it should be, those before it
// are.
func (d *Database) Apply(ctx context.Context, payload io.Reader, n int64, more stream.More) error {
	if err := d.take(ctx); err != nil {
		return err
	}
	defer d.give()
	b := &batch{d: d}
	err := b.apply(payload, n)
	for err == nil {
		var ok bool
		if n, ok, err = more(); err != nil || !ok {
			break
		}
		err = b.apply(payload, n)
	}
	if err = errors.Join(err, b.publish()); err != nil {
		return fmt.Errorf("apply to %s: %w", d.path, err)
	}
	d.wantCheckpoint()
	return nil
}

// batch is transactions that are published together: they are in the log, not written yet, and only the last image of each
// page is in the tail of the WAL.
type batch struct {
	d       *Database
	change  *change    // nil while there is none
	pos     stream.Pos // after the last
	bytes   int64      // of the transactions
	shrinks bool       // the last one cuts the database: what grows again after it is another state
}

// apply adds a transaction, after those that there are are published where it is to be no part of them.
func (b *batch) apply(payload io.Reader, n int64) error {
	if b.change != nil && (b.shrinks || b.bytes+n > batchBytes || len(b.d.tail.buf) > batchFrames) {
		if err := b.publish(); err != nil {
			return err
		}
	}
	if !b.d.exists() {
		return b.d.applyFirst(payload, n)
	}
	if b.change == nil {
		if err := b.begin(); err != nil {
			return err
		}
	}
	txn, err := b.d.log.Receive(payload, n, b.leads)
	if err != nil {
		return err
	}
	if err := b.add(txn); err != nil {
		b.drop()
		return errors.Join(fmt.Errorf("transaction %s: %w", txn.Header().MinTXID, err), b.d.log.Withdraw())
	}
	b.pos = txn.Post()
	b.bytes += n
	return nil
}

func (b *batch) begin() error {
	if err := b.d.restartIfDue(); err != nil {
		return err
	}
	b.change, b.pos, b.bytes, b.shrinks = b.d.newChange(), b.d.pos, 0, false
	return nil
}

// leads tells why a transaction does not lead from the state that the batch makes to the one that it says.
func (b *batch) leads(txn *stream.Txn) error {
	h := txn.Header()
	switch {
	case txn.Pre() != b.pos:
		return fmt.Errorf("%w: it follows %s, this database is at %s", stream.ErrPosMismatch, txn.Pre(), b.pos)
	case b.pos == stream.Pos{}:
		return fmt.Errorf("%w: the position of this database is not known", stream.ErrPosMismatch)
	case h.PageSize != b.d.hdr.PageSize:
		return fmt.Errorf("%w: %d bytes, this database has %d", stream.ErrPageSize, h.PageSize, b.d.hdr.PageSize)
	}
	if got := b.change.sums.after(txn.Summed(), h.Commit); got != txn.Post().PostApplyChecksum {
		return fmt.Errorf("%w: the database would have checksum %s, want %s", stream.ErrPosMismatch, got, txn.Post())
	}
	return nil
}

// add adds the pages of a transaction that is in the log.
func (b *batch) add(txn *stream.Txn) error {
	if b.d.tail.room() < len(txn.Summed()) { // some frames are written at once: the log comes first
		if err := b.d.log.Write(); err != nil {
			return err
		}
	}
	pages, err := txn.Pages()
	if err != nil {
		return err
	}
	defer pages.Close()
	b.shrinks = txn.Header().Commit < b.change.sums.size
	return b.change.add(pages)
}

// publish publishes what was added. Where it fails there is nothing of it.
func (b *batch) publish() error {
	if b.change == nil || b.pos == b.d.pos {
		return nil
	}
	err := b.d.log.Write()
	if err == nil {
		err = b.change.publish(b.pos)
	}
	b.change = nil
	if err != nil {
		b.d.tail.drop()
		return errors.Join(err, b.d.log.Withdraw())
	}
	b.d.log.Publish()
	return nil
}

// drop forgets what was added.
func (b *batch) drop() {
	b.d.tail.drop()
	b.change = nil
}
