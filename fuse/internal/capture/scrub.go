package capture

import (
	"fmt"
	"time"

	"weir/fuse/internal/scrub"
	"weir/stream"
)

// scrubAgain is the time after which a page that seems to be damaged is read again before that is said.
const scrubAgain = 100 * time.Millisecond

// scrub reads pages from a page on and compares them with their checksums; see [scrub.Run]. There is nowhere to have a
// damaged page from, so it is named.
func (d *Database) scrub(from uint32) (next uint32) {
	for read := 0; read < scrub.StepBytes; from++ {
		n, damage := d.scrubPage(from)
		if n == 0 {
			return 0
		}
		if damage != nil {
			if !scrub.Sleep(d.closing, scrubAgain) {
				return 0
			}
			if _, again := d.scrubPage(from); again != nil && *again == *damage {
				d.logger.Error("a page of the database is damaged: it is not what was written; the database needs a backup, or a replica's copy",
					"db", d.path, "file", d.name, "page", from, "damage", damage)
			}
		}
		read += n
	}
	return from
}

// damagedPage is what is wrong with a page.
type damagedPage struct {
	got, want stream.Checksum
	unread    string // why it cannot be read
}

func (p *damagedPage) Error() string {
	if p.unread != "" {
		return p.unread
	}
	return fmt.Sprintf("it has checksum %s, want %s", p.got, p.want)
}

// scrubPage compares a page as of the last captured transaction; it returns 0 where there is none. A page that is being
// written is another time's.
func (d *Database) scrubPage(pgno uint32) (read int, damage *damagedPage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	pageSize := d.sums.PageSize()
	if d.db == nil || pgno > d.sums.Len() {
		return 0, nil
	}
	d.noteUnseen()
	want := d.sums.Page(pgno)
	if want == 0 || d.dirty.has(pgno) { // 0: the lock page
		return int(pageSize), nil
	}
	buf := make([]byte, pageSize)
	if err := d.readPage(pgno, buf); err != nil {
		return int(pageSize), &damagedPage{want: want, unread: err.Error()}
	}
	if got := stream.PageSum(pgno, buf); got != want {
		return int(pageSize), &damagedPage{got: got, want: want}
	}
	return int(pageSize), nil
}
