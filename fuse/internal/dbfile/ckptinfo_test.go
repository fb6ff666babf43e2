package dbfile

import (
	"bytes"
	"testing"
)

func FuzzParseCkptInfo(f *testing.F) {
	f.Add(newSQLite(f, 512, "wal").read("-shm")[:RegionSize/256])
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCkptInfo(b)
		if err != nil {
			return
		}
		again := bytes.Clone(b)
		c.Encode(again)
		if !bytes.Equal(again, b) {
			t.Errorf("got %x again, want %x", again, b)
		}
	})
}
