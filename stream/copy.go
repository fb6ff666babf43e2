package stream

import (
	"encoding/binary"
	"fmt"
)

// copy copies a record as it is, read into the writer's own buffer. Its CRC is checked before its end is written.
func (f *follower) copy(reader *LogReader, rec RawRecord) error {
	var crc uint32
	for off, size := int64(0), rec.Data.Size(); off < size; {
		if f.w.Available() < recordOverhead {
			if err := f.w.Flush(); err != nil {
				return err
			}
		}
		b := recordPart(f.w.AvailableBuffer(), size-off)
		_, err := rec.Data.ReadAt(b, off)
		if err == nil {
			crc, err = checkPart(b, off, size, crc)
		}
		if err != nil {
			reader.isDamaged()
			return fmt.Errorf("read log at %s: %w", rec.Pos, short(err))
		}
		if _, err := f.w.Write(b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// recordPart is as much of b as is to be read of a record, of which left bytes are left. Its CRC is not taken apart.
func recordPart(b []byte, left int64) []byte {
	n := min(int64(cap(b)), left)
	if rest := left - n; 0 < rest && rest < recordFooterSize {
		n -= recordFooterSize
	}
	return b[:n]
}

// checkPart checks the part at off of a record of size bytes. The CRC is that of the payload before it, and after it.
func checkPart(b []byte, off, size int64, crc uint32) (uint32, error) {
	last := off+int64(len(b)) == size
	if off == 0 {
		_, n, err := parseHeader(b)
		if err == nil && n+recordOverhead != size {
			err = fmt.Errorf("%w: record of %d bytes has room for %d", ErrCorrupt, n, size-recordOverhead)
		}
		if err != nil {
			return 0, err
		}
		b = b[recordHeaderSize:]
	}
	if !last {
		return crcUpdate(crc, b), nil
	}
	payload, footer := b[:len(b)-recordFooterSize], b[len(b)-recordFooterSize:]
	crc = crcUpdate(crc, payload)
	if got := binary.BigEndian.Uint32(footer); got != crc {
		return 0, fmt.Errorf("%w: record has CRC %08x, want %08x", ErrCorrupt, got, crc)
	}
	return crc, nil
}
