package capture

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"weir/fuse/internal/dbfile"
)

// benchPages is how many pages a transaction has.
const benchPages = 3

// BenchmarkCaptureWAL captures transactions that stand in a WAL: each as it is committed, and many in one go. An operation
// is a transaction.
func BenchmarkCaptureWAL(b *testing.B) {
	for name, together := range map[string]int{"each": 1, "backlog": 300} {
		b.Run(name, func(b *testing.B) {
			w := newWALWriter(b)
			b.SetBytes(benchPages * 4096)
			b.ReportAllocs()
			for b.Loop() {
				if w.written == len(w.headers) {
					b.StopTimer()
					w.restart(300)
					b.StartTimer()
				}
				if w.written++; w.written%together == 0 {
					w.publish(w.headers[w.written-1])
					w.d.Capture()
				}
			}
			if got := int(w.d.log.Published().TXID - 1); got != b.N/together*together {
				b.Errorf("%d transactions were captured, want %d", got, b.N/together*together)
			}
		})
	}
}

// BenchmarkCaptureRollback is a transaction with a rollback journal, without syncs: what SQLite writes, and its capture.
func BenchmarkCaptureRollback(b *testing.B) {
	r, noise := newRig(b), rand.NewChaCha8([32]byte{})
	page := make([]byte, 4096)
	b.SetBytes(benchPages * 4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.journal(byte(i))
		for pgno := range uint32(benchPages) {
			noise.Read(page[:2048])
			r.write(pgno+5, page)
		}
		if err := r.endJournal(); err != nil {
			b.Fatal(err)
		}
	}
	if got := int(r.d.log.Published().TXID - 1); got != b.N {
		b.Errorf("%d transactions were captured, want %d", got, b.N)
	}
}

// walWriter writes a WAL beforehand, and publishes its transactions.
type walWriter struct {
	*rig
	wal, shm *os.File
	hdr      dbfile.WALHeader
	noise    *rand.ChaCha8

	headers []dbfile.IndexHeader // after each transaction in the WAL
	written int                  // how many of those are published
}

func newWALWriter(b testing.TB) *walWriter {
	b.Helper()
	w := &walWriter{rig: newRig(b), hdr: dbfile.WALHeader{PageSize: 4096}, noise: rand.NewChaCha8([32]byte{})}
	w.shm, w.wal = w.create(dbfile.RoleSHM), w.create(dbfile.RoleWAL)
	if err := w.shm.Truncate(dbfile.RegionSize); err != nil {
		b.Fatal(err)
	}
	return w
}

func (w *walWriter) create(role dbfile.Role) *os.File {
	w.Helper()
	f, err := os.Create(w.path(role.Suffix()))
	if err = errors.Join(err, w.d.Opened(role)); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { f.Close() })
	return f
}

// restart begins the WAL anew, with n transactions.
func (w *walWriter) restart(n int) {
	w.Helper()
	w.hdr.Salt[0]++
	b := make([]byte, dbfile.WALHeaderSize)
	w.hdr.Encode(b)
	h := dbfile.IndexHeader{PageSize: 4096, Size: w.d.sums.Len(), FrameCksum: w.hdr.Cksum, Salt: w.hdr.Salt}
	w.publish(h)
	w.headers, w.written = nil, 0
	for range n {
		for i := range uint32(benchPages) {
			b = w.appendFrame(b, &h, 5+i, i == benchPages-1)
		}
		w.headers = append(w.headers, h)
	}
	if _, err := w.wal.WriteAt(b, 0); err != nil {
		w.Fatal(err)
	}
}

func (w *walWriter) appendFrame(b []byte, h *dbfile.IndexHeader, pgno uint32, commit bool) []byte {
	frame := make([]byte, w.hdr.FrameSize())
	w.noise.Read(frame[len(frame)-2048:])
	f := dbfile.Frame{Pgno: pgno}
	if commit {
		f.Size = h.Size
	}
	h.FrameCksum = dbfile.EncodeFrameHeader(frame, &w.hdr, f, h.FrameCksum, frame[dbfile.FrameHeaderSize:])
	h.MxFrame++
	return append(b, frame...)
}

// publish writes the header of the wal-index.
func (w *walWriter) publish(h dbfile.IndexHeader) {
	b := make([]byte, 2*dbfile.IndexHeaderSize)
	h.Encode(b)
	h.Encode(b[dbfile.IndexHeaderSize:])
	if _, err := w.shm.WriteAt(b, 0); err != nil {
		w.Fatal(err)
	}
}
