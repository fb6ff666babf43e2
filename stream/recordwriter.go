package stream

import (
	"encoding/binary"
	"os"
	"sync"
)

const (
	// writeBuffer is how many bytes of records are gathered before they are written. A record that fits is written at once.
	writeBuffer = 256 << 10

	// smallBuffer is how many a log keeps room for from one record to the next.
	smallBuffer = 16 << 10
)

// writeBuffers are for records that do not fit in smallBuffer, and for several of them.
var writeBuffers = sync.Pool{New: func() any { return new([writeBuffer + recordOverhead]byte) }}

// recordWriter writes records to a file, one after another. Where one takes several writes its
// header comes last, so that a record cut off by a crash has none.
type recordWriter struct {
	file  *os.File
	start int64 // where the record begins
	off   int64 // where buf belongs
	n     int64 // payload bytes so far
	crc   uint32
	buf   []byte // not written yet: the end of the record, or all of it after other whole ones
}

// begin begins a record at start, with nothing before it that is still to be written.
func (w *recordWriter) begin(f *os.File, start int64) {
	*w = recordWriter{file: f, off: start, buf: w.buf[:0]}
	w.next()
}

// next begins a record behind those in buf.
func (w *recordWriter) next() {
	var header [recordHeaderSize]byte // comes with the end
	w.start, w.n, w.crc = w.off+int64(len(w.buf)), 0, 0
	w.grow(recordHeaderSize)
	w.buf = append(w.buf, header[:]...)
}

// fits tells whether a payload of n bytes can be added as a whole to what is in buf.
func (w *recordWriter) fits(n int64) bool {
	return len(w.buf) > 0 && int64(len(w.buf))+n+recordOverhead <= writeBuffer
}

// Write implements io.Writer for the payload.
func (w *recordWriter) Write(p []byte) (int, error) {
	if len(w.buf)+len(p) > writeBuffer {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	w.crc = crcUpdate(w.crc, p)
	w.n += int64(len(p))
	w.grow(len(p))
	w.buf = append(w.buf, p...)
	return len(p), nil
}

// grow makes room for n bytes more.
func (w *recordWriter) grow(n int) {
	if n += len(w.buf); n > cap(w.buf) && n > smallBuffer {
		large := writeBuffers.Get().(*[writeBuffer + recordOverhead]byte)
		w.buf = append(large[:0], w.buf...)
	}
}

// flush writes what is in buf.
func (w *recordWriter) flush() error {
	n, err := w.file.WriteAt(w.buf, w.off)
	w.off += int64(n)
	w.empty()
	return err
}

// empty forgets what is in buf.
func (w *recordWriter) empty() {
	if cap(w.buf) >= writeBuffer {
		writeBuffers.Put((*[writeBuffer + recordOverhead]byte)(w.buf[:writeBuffer+recordOverhead]))
		w.buf = nil
	}
	w.buf = w.buf[:0]
}

// whole tells whether all of the record is still in buf.
func (w *recordWriter) whole() bool { return w.off <= w.start }

// payload returns the payload of a whole record.
func (w *recordWriter) payload() []byte { return w.buf[w.start-w.off+recordHeaderSize:][:w.n] }

// size is how long the record is, once it has ended.
func (w *recordWriter) size() int64 { return w.n + recordOverhead }

// end completes the record. It is written with the next flush, unless some of it was written before.
func (w *recordWriter) end(t recordType) error {
	w.grow(recordFooterSize)
	w.buf = binary.BigEndian.AppendUint32(w.buf, w.crc)
	var h [recordHeaderSize]byte
	putHeader(h[:], t, w.n)
	if w.whole() {
		copy(w.buf[w.start-w.off:], h[:])
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	_, err := w.file.WriteAt(h[:], w.start)
	return err
}

// drop forgets the record, and tells whether some of it was written.
func (w *recordWriter) drop() (written bool) {
	if w.whole() {
		w.buf = w.buf[:w.start-w.off]
		return false
	}
	w.empty()
	return true
}
