package oracle

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"

	"github.com/mattn/go-sqlite3"

	"weir/fuse/fusetest"
)

// blob is the SQL function blob(seed, n): n bytes that look random.
func blob(seed, n int64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24, 32), uint64(seed)))).Read(b)
	return b
}

var errNoConnection = errors.New("no connection")

// persistWAL has a connection keep the WAL at its close.
func persistWAL(conn *sqlite3.SQLiteConn, _ string) error {
	if conn == nil {
		return errNoConnection
	}
	return conn.SetFileControlInt("main", sqlite3.SQLITE_FCNTL_PERSIST_WAL, 1)
}

// restore has SQLite's backup write the copy at path over the open database.
func restore(conn *sqlite3.SQLiteConn, path string) error {
	if conn == nil {
		return errNoConnection
	}
	if _, err := os.Stat(path); err != nil {
		return errNoCopy
	}
	from, err := fusetest.Open(uri(path, ""))
	if err != nil {
		return err
	}
	defer from.Close()
	b, err := conn.Backup("main", from, "main")
	if err != nil {
		return err
	}
	_, err = b.Step(-1)
	return errors.Join(err, b.Finish())
}
