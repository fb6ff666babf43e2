package stream

import (
	"encoding/binary"
	"hash/crc64"
	"math/bits"
	"sync"

	"github.com/superfly/ltx"
)

// crcISO is what LTX sums pages and files with.
var crcISO = crc64.MakeTable(crc64.ISO)

// PageCRC is the CRC-ISO-64 of a page's number and content. Both the page's
// checksum and its part in the CRC of an LTX file follow from it, so that the
// content is gone through once.
type PageCRC uint64

// CRCOfPage sums a page.
func CRCOfPage(pgno uint32, data []byte) PageCRC {
	return PageCRC(updateCRC(crcOfPgno(pgno), data))
}

// Sum returns the page's checksum.
func (c PageCRC) Sum() Checksum { return ltx.ChecksumFlag | Checksum(c) }

// PageSum returns the checksum of a page's content at its place.
func PageSum(pgno uint32, data []byte) Checksum { return CRCOfPage(pgno, data).Sum() }

// updateCRC is crc64.Update(crc, crcISO, data), some three times as fast.
//
// A CRC is the remainder of a polynomial over the bits, and ISO's divisor has few
// terms: x^64 leaves x^4+x^3+x+1, and so x^128, its square, x^8+x^6+x^2+1. Bits
// stand in reverse, so multiplying by x^n is a shift to the right by n. Words are
// taken two at a time, for the processor does both sums at once.
func updateCRC(crc uint64, data []byte) uint64 {
	const both = 16
	if len(data) < both {
		return crc64.Update(crc, crcISO, data)
	}
	even, odd := ^crc, uint64(0)
	for {
		even ^= binary.LittleEndian.Uint64(data)
		odd ^= binary.LittleEndian.Uint64(data[8:])
		if data = data[both:]; len(data) < both {
			break
		}
		even, odd = timesX128(even), timesX128(odd)
	}
	return crc64.Update(^timesX64(timesX64(even)^odd), crcISO, data)
}

func timesX64(x uint64) uint64 { return shiftX64(x) ^ shiftX64(x<<63^x<<61^x<<60) }

// shiftX64 leaves out what the shifts push out.
func shiftX64(x uint64) uint64 { return x ^ x>>1 ^ x>>3 ^ x>>4 }

func timesX128(x uint64) uint64 { return x ^ x>>2 ^ x>>6 ^ x>>8 ^ pushedX128[byte(x)] }

// pushedX128 is what becomes of the last byte, which timesX128 pushes out.
var pushedX128 = func() (pushed [256]uint64) {
	for i := range pushed {
		x := uint64(i)
		pushed[i] = shiftX64(x<<62 ^ x<<58 ^ x<<56)
	}
	return pushed
}()

func crcOfPgno(pgno uint32) uint64 {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], pgno)
	return crc64.Update(0, crcISO, b[:])
}

// crcPage is crc64.Update(crc, crcISO, data), where c is data's PageCRC as page pgno.
func crcPage(crc uint64, c PageCRC, pgno, pageSize uint32) uint64 {
	// A CRC is linear: what two of them differ by after the same bytes depends
	// on nothing but what they differed by before.
	return uint64(c) ^ zerosOf(pageSize).run(crc^crcOfPgno(pgno))
}

// zeros is what a run of zero bytes makes of a CRC register, by the register's
// bytes.
type zeros [8][256]uint64

// run returns the register after the run.
func (z *zeros) run(x uint64) (y uint64) {
	for i := range z {
		y ^= z[i][byte(x>>(8*i))]
	}
	return y
}

// zerosBySize has one zeros for each page size, by its logarithm.
var zerosBySize [17]struct {
	once sync.Once
	zeros
}

func zerosOf(pageSize uint32) *zeros {
	z := &zerosBySize[bits.Len32(pageSize)-1]
	z.once.Do(func() { z.zeros = newZeros(pageSize) })
	return &z.zeros
}

// newZeros makes the table for n zero bytes, n being a power of two.
func newZeros(n uint32) (z zeros) {
	var bit [64]uint64 // what becomes of each bit
	for i := range bit {
		x := uint64(1) << i
		bit[i] = crcISO[byte(x)] ^ x>>8
	}
	for ; n > 1; n /= 2 {
		var twice [64]uint64
		for i := range bit {
			twice[i] = combine(&bit, bit[i])
		}
		bit = twice
	}
	for i := range z {
		for b := range z[i] {
			z[i][b] = combine(&bit, uint64(b)<<(8*i))
		}
	}
	return z
}

// combine returns what becomes of x.
func combine(bit *[64]uint64, x uint64) (y uint64) {
	for ; x != 0; x &= x - 1 {
		y ^= bit[bits.TrailingZeros64(x)]
	}
	return y
}
