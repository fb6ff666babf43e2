package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// network joins network namespaces by lines that can be made bad. Each namespace has a TUN device, whose packets this
// process carries to the one that they are addressed to: so both ends have a real TCP, and no queueing discipline of
// the kernel's is needed.
type network struct {
	t       *testing.T
	lines   []*line // by the last byte of the address, less 1
	readers sync.WaitGroup
	closing chan struct{}
}

// line is one namespace's connection to all others.
type line struct {
	network *network
	ns      *os.File // the namespace, which lives as long as this
	tun     *os.File
	ip      string
	up      way
	down    way
	hearing hearing

	mu      sync.Mutex // guards all below
	bad     impairment
	passed  int // packets
	dropped int
}

// way is one of a line's two.
type way struct {
	queue chan packet // on the way, in the order in which they arrive
	free  time.Time   // when all are sent. The line's mu guards it.
}

// impairment is what is wrong with a line, both ways. The zero value is a good one.
type impairment struct {
	delay  time.Duration // each way
	late   float64       // the part of the packets that are late by up to jitter more, so that others overtake them
	jitter time.Duration
	loss   float64 // the part of the packets that are lost
	rate   int     // bytes a second, 0 for no limit
	gone   bool    // nothing gets through, and nobody is told
}

type packet struct {
	data []byte
	due  time.Time
}

// queued is how long a packet may wait for those before it: a queue that is longer drops its tail, as routers do. It is
// as long as slow lines have it: with a short one TCP itself is silent for seconds, again and again.
const queued = 10 * time.Second

// mtu is Ethernet's, in bytes.
const mtu = 1500

// newNetwork makes n namespaces with the addresses 10.77.0.1 and up.
func newNetwork(t *testing.T, n int) *network {
	t.Helper()
	w := &network{t: t, closing: make(chan struct{})}
	t.Cleanup(w.close)
	for i := range n {
		l := &line{network: w, ip: fmt.Sprintf("10.77.0.%d", i+1)}
		l.up.queue, l.down.queue = make(chan packet, 1<<12), make(chan packet, 1<<12)
		if err := l.open(); err != nil {
			t.Fatal(fmt.Errorf("a network namespace with a TUN device: %w", err))
		}
		w.lines = append(w.lines, l)
	}
	for _, l := range w.lines {
		w.readers.Go(l.read)
		w.readers.Go(func() { w.deliver(l.up.queue, w.send) })
		w.readers.Go(func() { w.deliver(l.down.queue, func(p []byte) { l.tun.Write(p) }) }) // a packet that can't be written is lost
	}
	return w
}

func (w *network) close() {
	close(w.closing)
	for _, l := range w.lines { // those that were opened
		if err := errors.Join(l.tun.Close(), l.ns.Close()); err != nil {
			w.t.Error(err)
		}
	}
	w.readers.Wait()
}

// open makes the namespace and its device.
func (l *line) open() error {
	return elsewhere(func() error { return unix.Unshare(unix.CLONE_NEWNET) }, func() (err error) {
		if l.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if l.tun, err = openTUN(l.ip); err != nil {
			return errors.Join(err, l.ns.Close())
		}
		return loopbackUp()
	})
}

// within does something in the namespace.
func (l *line) within(do func() error) error {
	return elsewhere(func() error { return unix.Setns(int(l.ns.Fd()), unix.CLONE_NEWNET) }, do)
}

// elsewhere enters another namespace with one thread, and comes back: were the thread to end, so would the processes
// that it has ever started (PR_SET_PDEATHSIG).
func elsewhere(enter, do func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	if err := enter(); err != nil {
		return err
	}
	err = do()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // the thread is lost to whatever runs on it next
	}
	runtime.UnlockOSThread()
	return err
}

// openTUN makes a device with an address of a network of 256 in the thread's namespace.
func openTUN(ip string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	defer unix.Close(s)
	for _, step := range []struct {
		fd      int
		request uint
		set     func(*unix.Ifreq) error
	}{
		{fd, unix.TUNSETIFF, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI); return nil }},
		{s, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(net.ParseIP(ip).To4()) }},
		{s, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{s, unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }},
		{s, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }},
	} {
		r, err := unix.NewIfreq("line")
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(step.fd, step.request, r)
		}
		if err != nil {
			return nil, errors.Join(err, unix.Close(fd))
		}
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// read takes what the namespace sends, until the device is closed.
func (l *line) read() {
	buf := make([]byte, 1<<16)
	for {
		n, err := l.tun.Read(buf)
		if err != nil {
			return
		}
		l.hearing.sent(buf[:n])
		l.carry(append([]byte(nil), buf[:n]...), &l.up)
	}
}

// deliver hands on packets when they are due.
func (w *network) deliver(from chan packet, to func([]byte)) {
	for {
		select {
		case p := <-from:
			time.Sleep(time.Until(p.due))
			to(p.data)
		case <-w.closing:
			return
		}
	}
}

// send brings a packet onto the line of the namespace that it is for.
func (w *network) send(p []byte) {
	if len(p) < 20 || p[0]>>4 != 4 || int(p[19]) > len(w.lines) || p[19] == 0 {
		return // not to anyone here: IPv6's and multicast's own
	}
	l := w.lines[p[19]-1]
	l.carry(p, &l.down)
}

// carry puts a packet on one way of the line, or loses it.
func (l *line) carry(p []byte, w *way) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &l.bad
	if w.free.Before(now) || b.rate == 0 {
		w.free = now
	}
	if b.gone || rand.Float64() < b.loss || w.free.Sub(now) > queued || len(w.queue) == cap(w.queue) {
		l.dropped++
		return
	}
	l.passed++
	if b.rate > 0 {
		w.free = w.free.Add(time.Duration(len(p)) * time.Second / time.Duration(b.rate))
	}
	due := w.free.Add(b.delay)
	if rand.Float64() < b.late {
		due = due.Add(rand.N(b.jitter))
		l.network.readers.Go(func() { l.network.deliverLate(packet{p, due}, w.queue) })
		return
	}
	select {
	case w.queue <- packet{p, due}:
	default: // a late one took the last place
		l.dropped++
	}
}

// deliverLate brings in a late packet among those that were sent after it.
func (w *network) deliverLate(p packet, queue chan packet) {
	time.Sleep(time.Until(p.due))
	select {
	case queue <- p:
	case <-w.closing:
	}
}

// set makes the line better or worse.
func (l *line) set(bad impairment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad = bad
}

// counts returns how many packets passed so far, and how many did not.
func (l *line) counts() (passed, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed, l.dropped
}

// dial makes a connection out of the namespace.
func (l *line) dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = l.within(func() (err error) { c, err = new(net.Dialer).DialContext(ctx, network, addr); return err })
	return c, err
}

// client makes requests out of the namespace.
func (l *line) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}}
}

// host makes a node of the namespace, with its own port 9090.
func (l *line) host(name string) *node {
	l.network.t.Helper()
	n := newNode(l.network.t, name)
	n.addr, n.line = l.ip+":9090", l
	return n
}

// enter is the command that runs what follows in the namespace.
func (l *line) enter() []string {
	return []string{"nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), l.ns.Fd()), "--"}
}

// The network does what the tests of weir rely on.
func TestNetwork(t *testing.T) {
	w := newNetwork(t, 2)
	a, b := w.lines[0], w.lines[1]
	echoed := func(n int) time.Duration {
		t.Helper()
		c, err := b.dial(t.Context(), "tcp", a.ip+":7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		go c.Write(make([]byte, n))
		if _, err := io.ReadFull(c, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	a.echo(t)
	t.Logf("a byte there and back: %v", echoed(1))
	b.set(impairment{delay: 50 * time.Millisecond})
	if got := echoed(1); got < 100*time.Millisecond {
		t.Errorf("got %v for a byte there and back, want 100ms and more", got)
	}
	b.set(impairment{rate: 20000})
	if got := echoed(20000); got < time.Second {
		t.Errorf("got %v for a second's data, want a second and more", got)
	}
	b.set(impairment{loss: 0.1, late: 0.2, jitter: 5 * time.Millisecond, delay: time.Millisecond})
	echoed(300000)
	if passed, dropped := b.counts(); dropped == 0 || dropped > passed {
		t.Errorf("got %d packets that passed and %d that did not", passed, dropped)
	}
	b.set(impairment{gone: true})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if c, err := b.dial(ctx, "tcp", a.ip+":7"); err == nil {
		c.Close()
		t.Error("got a connection over a line on which nothing passes")
	}
	b.set(impairment{}) // or the ends of connections never arrive
}

// echo sends back what comes to port 7.
func (l *line) echo(t *testing.T) {
	t.Helper()
	var listener net.Listener
	err := l.within(func() (err error) { listener, err = net.Listen("tcp4", l.ip+":7"); return err })
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				io.Copy(c, c) // ends with the test's end of the connection
				c.Close()
			})
		}
	})
	t.Cleanup(func() {
		l.set(impairment{})
		listener.Close()
		open.Wait()
	})
}
