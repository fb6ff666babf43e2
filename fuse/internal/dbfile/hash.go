package dbfile

import (
	"encoding/binary"
	"fmt"
)

// Each region of the wal-index holds the page numbers of up to regionFrames frames, and behind them
// a hash table of their slots by page number. The first region holds fewer frames, because the
// headers are in it.
const (
	regionFrames = 4096
	firstFrames  = regionFrames - indexHeaderEnd/4
	hashSlots    = 2 * regionFrames
	hashStart    = 4 * regionFrames
	hashPrime    = 383
)

// RegionOf returns the number of the region that holds a frame. Frames count from 1, regions from 0.
func RegionOf(frame uint32) int {
	return int((frame + regionFrames - firstFrames - 1) / regionFrames)
}

// LastFrame returns the last frame that region i holds.
func LastFrame(i int) uint32 { return uint32(firstFrames + i*regionFrames) }

// regionBase returns the frame before the first one of region i, and the offset of the page numbers in it.
func regionBase(i int) (zero uint32, pgnos int) {
	if i == 0 {
		return 0, indexHeaderEnd
	}
	return LastFrame(i - 1), 0
}

// HashInsert enters a frame into region, which is region RegionOf(frame). Frames are entered in
// order; the first of a region clears it. It overwrites nothing that a reader of earlier frames
// uses, so readers need not be kept out.
func HashInsert(region []byte, frame, pgno uint32) {
	zero, pgnos := regionBase(RegionOf(frame))
	idx := frame - zero
	if idx == 1 {
		clear(region[pgnos:RegionSize])
	}
	key := pgno * hashPrime % hashSlots
	for left := idx; slot(region, key) != 0; left-- {
		if left == 0 {
			panic(fmt.Sprintf("dbfile: hash table of region %d is full at frame %d", RegionOf(frame), frame))
		}
		key = (key + 1) % hashSlots
	}
	binary.NativeEndian.PutUint32(region[pgnos+4*int(idx-1):], pgno)
	binary.NativeEndian.PutUint16(region[hashStart+2*key:], uint16(idx))
}

// HashTruncate removes the frames after mxFrame from region, which is region RegionOf(mxFrame).
// Later regions need nothing: they are cleared when they are first used.
func HashTruncate(region []byte, mxFrame uint32) {
	zero, pgnos := regionBase(RegionOf(mxFrame))
	limit := mxFrame - zero
	for key := range uint32(hashSlots) {
		if uint32(slot(region, key)) > limit {
			binary.NativeEndian.PutUint16(region[hashStart+2*key:], 0)
		}
	}
	clear(region[pgnos+4*int(limit) : hashStart])
}

// HashFind returns the last frame of page pgno in region i, among the frames lo to hi, or 0.
func HashFind(region []byte, i int, pgno, lo, hi uint32) uint32 {
	zero, pgnos := regionBase(i)
	key := pgno * hashPrime % hashSlots
	var found uint32
	for range hashSlots {
		idx := slot(region, key)
		if idx == 0 {
			break
		}
		frame := zero + uint32(idx)
		at := pgnos + 4*int(idx-1)
		if frame >= lo && frame <= hi && frame > found && at < hashStart && binary.NativeEndian.Uint32(region[at:]) == pgno {
			found = frame
		}
		key = (key + 1) % hashSlots
	}
	return found
}

// FramePgno returns the page number of a frame from region, which is region RegionOf(frame).
func FramePgno(region []byte, frame uint32) uint32 {
	zero, pgnos := regionBase(RegionOf(frame))
	return binary.NativeEndian.Uint32(region[pgnos+4*int(frame-zero-1):])
}

func slot(region []byte, key uint32) uint16 {
	return binary.NativeEndian.Uint16(region[hashStart+2*key:])
}
