package stream

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/pierrec/lz4/v4"
	"github.com/superfly/ltx"
)

func appendPos(b []byte, p Pos) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(p.TXID))
	return binary.BigEndian.AppendUint64(b, uint64(p.PostApplyChecksum))
}

func parsePos(b []byte) Pos {
	return Pos{TXID: TXID(binary.BigEndian.Uint64(b)), PostApplyChecksum: Checksum(binary.BigEndian.Uint64(b[8:]))}
}

// append writes the payload of recordBeat.
func (h Heartbeat) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(appendPos(b, h.Pos), uint64(h.At.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Lag))
	return binary.BigEndian.AppendUint64(b, uint64(h.Behind))
}

func parseDone(b []byte) (Pos, error) {
	if len(b) != posSize {
		return Pos{}, fmt.Errorf("%w: done of %d bytes, want %d", ErrCorrupt, len(b), posSize)
	}
	return parsePos(b), nil
}

func parseBeat(b []byte) (h Heartbeat, err error) {
	if len(b) != beatSize {
		return h, fmt.Errorf("%w: beat of %d bytes, want %d", ErrCorrupt, len(b), beatSize)
	}
	h.Pos, b = parsePos(b), b[posSize:]
	h.At = time.Unix(0, int64(binary.BigEndian.Uint64(b)))
	h.Lag = time.Duration(binary.BigEndian.Uint64(b[8:]))
	h.Behind = int64(binary.BigEndian.Uint64(b[16:]))
	if h.Lag < 0 || h.Behind < 0 {
		return Heartbeat{}, fmt.Errorf("%w: beat with a lag of %d ns and %d bytes", ErrCorrupt, h.Lag, h.Behind)
	}
	return h, nil
}

// packPage returns page as an LZ4 block in buf, or page itself where that is
// not shorter.
func packPage(c *lz4.Compressor, page, buf []byte) []byte {
	n, err := c.CompressBlock(page, buf[:len(page)-1])
	if err != nil || n == 0 {
		return page
	}
	return buf[:n]
}

// parsePage unpacks a page record into page, which has the page size.
func parsePage(b, page []byte) (pgno uint32, err error) {
	if len(b) < 5 || len(b)-4 > len(page) {
		return 0, fmt.Errorf("%w: page record of %d bytes with page size %d", ErrCorrupt, len(b), len(page))
	}
	pgno, b = binary.BigEndian.Uint32(b), b[4:]
	if pgno == 0 || pgno == ltx.LockPgno(uint32(len(page))) {
		return 0, fmt.Errorf("%w: page number %d", ErrCorrupt, pgno)
	}
	if len(b) == len(page) {
		copy(page, b)
		return pgno, nil
	}
	if n, err := lz4.UncompressBlock(b, page); err != nil || n != len(page) {
		return 0, fmt.Errorf("%w: page %d unpacks to %d of %d bytes (%v)", ErrCorrupt, pgno, n, len(page), err)
	}
	return pgno, nil
}

// parsePosText reads a position as Pos.String writes it: TXID/CHECKSUM, each of
// 16 hex digits.
func parsePosText(s string) (Pos, error) {
	p, err := ltx.ParsePos(s)
	if err != nil || s[16] != '/' || p.TXID == 0 && p != (Pos{}) {
		return Pos{}, fmt.Errorf("position %q is not of the form TXID/CHECKSUM, each of 16 hex digits", s)
	}
	return p, nil
}
