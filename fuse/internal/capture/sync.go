package capture

import "time"

// syncEvery is the default of [Options].SyncEvery.
const syncEvery = time.Second

// syncLog makes the log durable now and then, until Close does it for the last
// time. No app waits for it.
func (d *Database) syncLog(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-d.closing:
			return
		case <-tick.C:
		}
		if err := d.log.Sync(); err != nil {
			d.mu.Lock()
			d.note(err)
			d.mu.Unlock()
		}
	}
}
