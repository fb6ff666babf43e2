package stream

import (
	"fmt"

	"github.com/superfly/ltx"
)

// parsePosText reads a position as Pos.String writes it: TXID/CHECKSUM, each of
// 16 hex digits.
func parsePosText(s string) (Pos, error) {
	p, err := ltx.ParsePos(s)
	if err != nil || s[16] != '/' || p.TXID == 0 && p != (Pos{}) {
		return Pos{}, fmt.Errorf("position %q is not of the form TXID/CHECKSUM, each of 16 hex digits", s)
	}
	return p, nil
}
