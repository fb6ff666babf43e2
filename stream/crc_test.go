package stream

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"

	"github.com/superfly/ltx"
)

// What is derived from a page's CRC is what the ltx package and hash/crc64 compute from the page.
func TestPageCRC(t *testing.T) {
	rnd := rand.NewChaCha8([32]byte{})
	for size := uint32(512); size <= 65536; size *= 2 {
		for range 20 {
			data := make([]byte, size)
			rnd.Read(data)
			pgno, crc := uint32(rnd.Uint64()), rnd.Uint64()
			c := CRCOfPage(pgno, data)
			if got, want := c.Sum(), ltx.ChecksumPage(pgno, data); got != want {
				t.Fatalf("page %d of %d bytes has checksum %s, want %s", pgno, size, got, want)
			}
			if got, want := crcPage(crc, c, pgno, size), crc64.Update(crc, crcISO, data); got != want {
				t.Fatalf("CRC %x goes on to %x over a page of %d bytes, want %x", crc, got, size, want)
			}
		}
	}
}

func TestUpdateCRC(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 300)
	for i := range data {
		data[i] = byte(rnd.Uint32())
	}
	for from := range 9 {
		for to := from; to <= len(data); to++ {
			crc := rnd.Uint64()
			if got, want := updateCRC(crc, data[from:to]), crc64.Update(crc, crcISO, data[from:to]); got != want {
				t.Fatalf("CRC %x goes on to %x over bytes %d to %d, want %x", crc, got, from, to, want)
			}
		}
	}
}
