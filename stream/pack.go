package stream

import (
	"encoding/binary"
	"fmt"

	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"
)

// Packed is a page as a transaction has it: with its checksum, and compressed.
type Packed struct {
	CRC PageCRC

	pgno  uint32
	size  int // of the page, in bytes
	frame []byte
}

// A Packer packs pages before the transaction is begun that they are written
// to. It is for one goroutine; the zero value works.
type Packer struct {
	lz     lz4.Compressor
	stored bool // pages are not compressed
}

// pageFrameSize is an LTX page header with the size that follows it.
const pageFrameSize = ltx.PageHeaderSize + 4

// Pack packs a page into p, whose memory is used again.
func (k *Packer) Pack(pgno uint32, data []byte, p *Packed) error {
	return k.pack(pgno, data, CRCOfPage(pgno, data), p)
}

func (k *Packer) pack(pgno uint32, data []byte, c PageCRC, p *Packed) error {
	if need := pageFrameSize + lz4.CompressBlockBound(len(data)); cap(p.frame) < need {
		p.frame = make([]byte, need)
	}
	p.frame = p.frame[:cap(p.frame)]
	n, err := k.block(data, p.frame[pageFrameSize:])
	if err != nil {
		return fmt.Errorf("compress page %d: %w", pgno, err)
	}
	p.CRC, p.pgno, p.size, p.frame = c, pgno, len(data), p.frame[:pageFrameSize+n]
	binary.BigEndian.PutUint32(p.frame, pgno)
	binary.BigEndian.PutUint16(p.frame[4:], ltx.PageHeaderFlagSize)
	binary.BigEndian.PutUint32(p.frame[ltx.PageHeaderSize:], uint32(n))
	return nil
}

// block writes data as an LZ4 block to dst.
func (k *Packer) block(data, dst []byte) (int, error) {
	if k.stored {
		return literals(data, dst), nil
	}
	return k.lz.CompressBlock(data, dst)
}

// literals writes the LZ4 block of one sequence that is all literals
// (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md) to dst.
func literals(data, dst []byte) int {
	dst[0] = byte(min(len(data), 15)) << 4
	n := 1
	for rest := len(data) - 15; rest >= 0; rest -= 255 {
		dst[n] = byte(min(rest, 255))
		n++
	}
	return n + copy(dst[n:], data)
}
