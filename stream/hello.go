package stream

import (
	"encoding/binary"
	"fmt"

	"github.com/superfly/ltx"
)

// maxInstances is how long a chain of servers may be.
const maxInstances = 16

// hello is the payload of recordHello.
type hello struct {
	pages bool // those of a snapshot or delta follow
	SnapshotHeader
	Lineage
	via []string // instances, from this server up to the primary
}

func (h hello) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, streamVersion)
	var follows uint32
	if h.pages {
		follows = 1
	}
	b = binary.BigEndian.AppendUint32(b, follows)
	b = binary.BigEndian.AppendUint32(b, h.PageSize)
	b = binary.BigEndian.AppendUint32(b, h.Size)
	b = append(appendPos(b, h.Pos), h.ID...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.Ancestors)))
	for _, a := range h.Ancestors {
		b = appendPos(append(b, a.ID...), a.Until)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(h.via)))
	for _, v := range h.via {
		b = append(b, v...)
	}
	return b
}

func parseHello(b []byte) (h hello, err error) {
	if len(b) < 4 {
		return h, fmt.Errorf("%w: hello of %d bytes", ErrCorrupt, len(b))
	}
	if v := binary.BigEndian.Uint32(b); v != streamVersion {
		return h, fmt.Errorf("upstream speaks version %d of the stream, this is version %d: run the same weir on both sides", v, streamVersion)
	}
	if len(b) < helloMin {
		return h, fmt.Errorf("%w: hello of %d bytes, want at least %d", ErrCorrupt, len(b), helloMin)
	}
	follows := binary.BigEndian.Uint32(b[4:])
	h.pages = follows == 1
	h.PageSize, h.Size = binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	h.Pos = parsePos(b[16:])
	b = b[16+posSize:]
	h.ID, b = string(b[:idLen]), b[idLen:]
	if err := h.parseLists(b); err != nil {
		return h, err
	}
	switch {
	case follows > 1:
		return h, fmt.Errorf("%w: hello announces %d", ErrCorrupt, follows)
	case (h.PageSize != 0 || h.pages) && !ltx.IsValidPageSize(h.PageSize):
		return h, fmt.Errorf("%w: hello with page size %d", ErrCorrupt, h.PageSize)
	}
	return h, h.Lineage.validate()
}

// parseLists parses ancestors and instances, which end the payload.
func (h *hello) parseLists(b []byte) error {
	list, rest, ok := cutList(b, maxAncestors, idLen+posSize)
	for ; ok && len(list) > 0; list = list[idLen+posSize:] {
		h.Ancestors = append(h.Ancestors, Ancestor{string(list[:idLen]), parsePos(list[idLen:])})
	}
	if ok {
		list, rest, ok = cutList(rest, maxInstances, idLen)
	}
	if !ok || len(rest) > 0 {
		return fmt.Errorf("%w: hello with lists of another length than it says", ErrCorrupt)
	}
	for ; len(list) > 0; list = list[idLen:] {
		if !validID(string(list[:idLen])) {
			return fmt.Errorf("%w: hello with instance %q", ErrCorrupt, list[:idLen])
		}
		h.via = append(h.via, string(list[:idLen]))
	}
	return nil
}

// cutList cuts a list of at most limit elements of size bytes, with their number before them, off b.
func cutList(b []byte, limit, size int) (list, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, b, false
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	if n > uint32(limit) || int(n)*size > len(b) {
		return nil, b, false
	}
	return b[:int(n)*size], b[int(n)*size:], true
}
