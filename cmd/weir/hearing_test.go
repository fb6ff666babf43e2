package main

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// hearing is what one end of a line has heard on the streams that it follows, as its TCP says: what has arrived and is in
// order is acknowledged. Whether that end may give a stream up follows from it, whatever the line did to the packets.
type hearing struct {
	mu    sync.Mutex
	flows map[uint16]*flow // by the port at this end
}

// flow is one connection that this end has made.
type flow struct {
	follows bool          // it asked for a stream
	acked   uint32        // up to which byte this end has all
	heard   int           // how often that grew
	at      time.Time     // when it last did
	silence time.Duration // since then, when this end closed the connection
	closed  bool
}

// tcp is what a packet says of a connection.
type tcp struct {
	from, to uint16
	ack      uint32
	flags    byte
	data     []byte
}

const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	_
	tcpACK
)

// parseTCP reads an IPv4 packet; it is not ok if that has none of TCP.
func parseTCP(p []byte) (s tcp, ok bool) {
	if len(p) < 20 || p[0]>>4 != 4 || p[9] != unix.IPPROTO_TCP {
		return s, false
	}
	header := int(p[0]&15) * 4
	if len(p) < header+20 {
		return s, false
	}
	p = p[header:]
	s = tcp{from: binary.BigEndian.Uint16(p), to: binary.BigEndian.Uint16(p[2:]), ack: binary.BigEndian.Uint32(p[8:]), flags: p[13]}
	if data := int(p[12]>>4) * 4; data <= len(p) {
		s.data = p[data:]
	}
	return s, true
}

// sent notes a packet that this end has sent. It may still be lost.
func (h *hearing) sent(p []byte) {
	s, ok := parseTCP(p)
	if !ok {
		return
	}
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.flags&tcpSYN != 0 {
		if h.flows == nil {
			h.flows = make(map[uint16]*flow)
		}
		h.flows[s.from] = &flow{at: now}
	}
	if f := h.flows[s.from]; f != nil && !f.closed {
		f.note(s, now)
	}
}

func (f *flow) note(s tcp, now time.Time) {
	if bytes.HasPrefix(s.data, []byte("GET /stream?")) || bytes.HasPrefix(s.data, []byte("POST /stream?")) {
		f.follows = true
	}
	if s.flags&(tcpFIN|tcpRST) != 0 {
		f.closed, f.silence = true, now.Sub(f.at)
		return
	}
	if s.flags&tcpACK != 0 && s.ack != f.acked {
		f.acked, f.at = s.ack, now
		f.heard++
	}
}

// streams returns how long nothing had been heard on each stream that this end has closed, and how often something was
// heard on all.
func (h *hearing) streams() (closed []time.Duration, heard int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.flows {
		if f.follows {
			heard += f.heard
		}
		if f.follows && f.closed {
			closed = append(closed, f.silence)
		}
	}
	return closed, heard
}
