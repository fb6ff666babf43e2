package apply

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// replicaMain applies the transactions in the directory payloads, from the one that the replica in
// dir is at, and says so for each. It ends by being killed.
func replicaMain(dir, payloads string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	db, err := Open(root, "db", Options{CheckpointFrames: testCheckpointFrames})
	if err != nil {
		return err
	}
	if _, err := attach(db, dir); err != nil {
		return err
	}
	_, pos := db.Pos()
	for n := pos.TXID + 1; ; n++ {
		b, err := os.ReadFile(filepath.Join(payloads, fmt.Sprint(uint64(n))))
		if err != nil {
			return err
		}
		if err := db.Apply(context.Background(), bytes.NewReader(b), int64(len(b)), noMore); err != nil {
			return err
		}
		fmt.Println(uint64(n))
	}
}
