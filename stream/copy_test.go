package stream

import (
	"bytes"
	"errors"
	"testing"
)

// A record is checked in parts of any length, and no part is let through that ends a damaged one.
func TestCheckParts(t *testing.T) {
	for n := range 80 {
		record := appendRecord(nil, recordTxn, bytes.Repeat([]byte{7}, n))
		for room := recordOverhead; room < recordOverhead+n+3; room++ {
			if err := checkParts(record, room); err != nil {
				t.Fatalf("%d bytes by %d: %v", n, room, err)
			}
			for i := range record {
				record[i] ^= 1
				if err := checkParts(record, room); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%d bytes by %d, byte %d is another: got %v, want %v", n, room, i, err, ErrCorrupt)
				}
				record[i] ^= 1
			}
		}
	}
	record := appendRecord(nil, recordTxn, make([]byte, 40))
	if _, err := checkPart(record[:30], 0, 50, 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a record of another length than its header says: got %v, want %v", err, ErrCorrupt)
	}
}

// checkParts checks a record that is read into so much room.
func checkParts(record []byte, room int) (err error) {
	var crc uint32
	for off, size := int64(0), int64(len(record)); off < size && err == nil; {
		b := recordPart(make([]byte, 0, room), size-off)
		copy(b, record[off:])
		crc, err = checkPart(b, off, size, crc)
		off += int64(len(b))
	}
	return err
}
