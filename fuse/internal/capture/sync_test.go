package capture_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/fuse/crashfs"
)

// The log is made durable soon, though the app syncs nothing and does not checkpoint.
func TestLogIsSynced(t *testing.T) {
	r := &recording{T: t, base: t.TempDir()}
	r.mountDisk()
	weir := r.startWeir()
	r.ask(weir, "mount", r.dir)
	app := r.start()
	r.ask(app, "open", "file:"+filepath.Join(r.dir, "db"))
	r.ask(app, "sql", "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE t (v)")
	r.waitLogged(0)
	before := r.disk.Len()
	r.ask(app, "sql", "INSERT INTO t VALUES (1)")
	r.waitLogged(before)
	if err := app.End(); err != nil {
		t.Fatal(err)
	}
	r.ask(weir, "unmount", "")
}

// waitLogged waits until the log has been written and then synced, counting operations from a number on.
func (r *recording) waitLogged(from int) {
	r.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		written, synced := -1, -1
		for i, o := range r.disk.Ops(from) {
			switch logged := strings.HasPrefix(o.Path, node+"/.weir/db/log-"); {
			case logged && o.Kind == crashfs.Write:
				written = i
			case logged && o.Kind == crashfs.Fsync:
				synced = i
			}
		}
		if written >= 0 && synced > written {
			return
		}
	}
	r.Fatal("the log was not synced within a minute")
}
