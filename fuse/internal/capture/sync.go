package capture

import "time"

// syncEvery is how often the log is made durable.
const syncEvery = time.Second

// syncLog makes the log durable now and then, until Close does it for the last
// time. No app waits for it.
func (d *Database) syncLog() {
	tick := time.NewTicker(syncEvery)
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
