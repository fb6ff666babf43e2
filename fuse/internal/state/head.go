package state

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

var errHead = errors.New("its first line is not what was written")

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// WriteHead writes v as the line that heads a file: the CRC-32C of the rest, 8 hex digits, a space, and JSON.
func WriteHead(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%08x %s\n", crc32.Checksum(b, crcTable), b)
	return err
}

// ReadHead reads what WriteHead wrote into v. Nothing is taken from a line that was damaged.
func ReadHead(r *bufio.Reader, v any) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("%w: %w", errHead, err)
	}
	const digits = 8
	if len(line) < digits+2 || line[digits] != ' ' {
		return errHead
	}
	b := line[digits+1 : len(line)-1]
	if fmt.Sprintf("%08x", crc32.Checksum(b, crcTable)) != string(line[:digits]) {
		return errHead
	}
	return json.Unmarshal(b, v)
}
