package capture

import (
	"sync"
	"sync/atomic"

	"weir/stream"
)

// preparer packs pages for the log that are written under a journal, while the
// app waits for the database to be synced. Most of a commit's time goes into
// that, and for the commit the app waits, too: at the journal's end. What is not
// packed by then, the commit packs.
type preparer struct {
	wake chan struct{} // of capacity 1
	quit chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	queue []*preparedPage          // guarded by mu
	pages map[uint32]*preparedPage // by number, as last written. Guarded by mu.
	spare []*preparedPage          // their memory is used again. Guarded by mu.
}

// preparedPage is a page as it was written.
type preparedPage struct {
	pgno   uint32
	image  []byte
	packed stream.Packed // the preparer's until ready
	ready  atomic.Bool
	stale  atomic.Bool // nobody will ask for it
}

const (
	// prepareMax and spareMax are how much is kept, in bytes of images.
	prepareMax = 4 << 20
	spareMax   = 256 << 10
)

func startPreparer() *preparer {
	p := &preparer{wake: make(chan struct{}, 1), quit: make(chan struct{}), pages: make(map[uint32]*preparedPage)}
	p.done.Go(p.run)
	return p
}

func (p *preparer) stop() {
	close(p.quit)
	p.done.Wait()
}

func (p *preparer) run() {
	var packer stream.Packer
	for {
		select {
		case <-p.wake:
		case <-p.quit:
			return
		}
		for page := p.next(); page != nil; page = p.next() {
			if packer.Pack(page.pgno, page.image, &page.packed) == nil {
				page.ready.Store(true)
			}
		}
	}
}

// next takes a page from the queue, nil where there is none.
func (p *preparer) next() *preparedPage {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 {
		page := p.queue[0]
		p.queue = p.queue[1:]
		if !page.stale.Load() {
			return page
		}
	}
	p.queue = nil
	return nil
}

// wrote takes what is being written to the database. Only whole pages are
// prepared.
func (p *preparer) wrote(data []byte, off int64, pageSize uint32) {
	size := int64(pageSize)
	if size == 0 || off%size != 0 || int64(len(data)) != size {
		p.forget()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pgno := uint32(off/size) + 1
	p.drop(pgno)
	if len(p.pages)*len(data) >= prepareMax {
		return
	}
	page := p.blank()
	page.pgno, page.image = pgno, append(page.image[:0], data...)
	p.pages[pgno] = page
	p.queue = append(p.queue, page)
}

// pack has what is written be packed.
func (p *preparer) pack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		signal(p.wake)
	}
}

// packed returns a page as it was last written; nil where it is not packed, or
// pages have another size now.
func (p *preparer) packed(pgno, pageSize uint32) *stream.Packed {
	p.mu.Lock()
	defer p.mu.Unlock()
	page := p.pages[pgno]
	if page == nil || len(page.image) != int(pageSize) {
		return nil
	}
	if !page.ready.Load() {
		page.stale.Store(true) // the caller packs it
		return nil
	}
	return &page.packed
}

// forget drops all pages.
func (p *preparer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pgno := range p.pages {
		p.drop(pgno)
	}
	p.queue = nil
}

func (p *preparer) drop(pgno uint32) {
	page := p.pages[pgno]
	if page == nil {
		return
	}
	delete(p.pages, pgno)
	page.stale.Store(true)
	if page.ready.Load() && (len(p.spare)+1)*len(page.image) <= spareMax {
		p.spare = append(p.spare, page)
	}
}

// blank returns a page to fill.
func (p *preparer) blank() *preparedPage {
	last := len(p.spare) - 1
	if last < 0 {
		return new(preparedPage)
	}
	page := p.spare[last]
	p.spare = p.spare[:last]
	page.ready.Store(false)
	page.stale.Store(false)
	return page
}
