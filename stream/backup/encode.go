package backup

import (
	"errors"
	"io"
	"time"

	"github.com/superfly/ltx"

	"weir/stream"
)

// encode writes what the image has as an LTX file that leads from pre to the image's position; all pages where pre is
// zero.
func (m *image) encode(w io.Writer, pre stream.Pos, at time.Time) error {
	enc, err := ltx.NewEncoder(w)
	if err != nil {
		return err
	}
	err = m.encodePages(enc, ltx.Header{
		Version: ltx.Version, PageSize: m.sums.PageSize(), Commit: m.size, Timestamp: at.UnixMilli(),
		MinTXID: pre.TXID + 1, MaxTXID: m.pos.TXID, PreApplyChecksum: pre.PostApplyChecksum,
	})
	if err != nil {
		return errors.Join(err, enc.Cleanup())
	}
	return enc.Close()
}

func (m *image) encodePages(enc *ltx.Encoder, h ltx.Header) error {
	if err := enc.EncodeHeader(h); err != nil {
		return err
	}
	page := make([]byte, h.PageSize)
	for pgno := uint32(1); pgno <= m.size; pgno++ {
		if m.sums.Page(pgno) == 0 { // the lock page, or not in these transactions
			continue
		}
		if _, err := m.file.ReadAt(page, int64(pgno-1)*int64(h.PageSize)); err != nil {
			return err
		}
		if err := enc.EncodePage(ltx.PageHeader{Pgno: pgno}, page); err != nil {
			return err
		}
	}
	enc.SetPostApplyChecksum(m.pos.PostApplyChecksum)
	return nil
}
