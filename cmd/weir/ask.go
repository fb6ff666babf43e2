package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// target is which daemon a command asks, as its flags say.
type target struct {
	config string
	addr   string
	db     string // "": all databases
}

// targetHelp describes the flags.
const targetHelp = `  -db PATH           this database only; asks the weir that has it mounted on this machine
  -config FILE       ask the weir that runs with this configuration on this machine
  -addr HOST:PORT    ask the weir that serves there; https://HOST:PORT where it does with TLS
`

func (t *target) flags(set *flag.FlagSet) {
	set.StringVar(&t.db, "db", "", "")
	set.StringVar(&t.config, "config", "", "")
	set.StringVar(&t.addr, "addr", "", "")
}

// check completes the flags.
func (t *target) check() (err error) {
	if t.addr != "" && t.config != "" {
		return usagef("-addr and -config exclude each other: leave one out")
	}
	if t.addr != "" {
		if err := checkAddr(strings.TrimPrefix(strings.TrimPrefix(t.addr, "https://"), "http://")); err != nil {
			return usageError{err}
		}
		return nil // the path is one on that machine
	}
	if t.db != "" {
		if t.db, err = cleanPath(t.db); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// errNoDaemon says that no weir runs where one was asked.
var errNoDaemon = errors.New("no weir runs here")

// clients returns the daemons to ask, one unless no flag says which.
func (t *target) clients() ([]*daemonClient, error) {
	switch {
	case t.addr != "":
		return one(addrClient(t.addr))
	case t.db != "":
		return one(directoryClient(filepath.Dir(t.db)))
	case t.config != "":
		conf, err := loadConfig(t.config, os.LookupEnv)
		if err != nil {
			return nil, err
		}
		return one(directoryClient(conf.DBs[0].directory()))
	}
	return runningClients()
}

func one(c *daemonClient, err error) ([]*daemonClient, error) { return []*daemonClient{c}, err }

// daemonClient asks one daemon.
type daemonClient struct {
	http *http.Client
	base string // URL without a path
	at   string // where it is, for messages
}

// addrClient asks the daemon that serves at addr, ":9090" being this machine's.
func addrClient(addr string) (*daemonClient, error) {
	scheme, host, ok := strings.Cut(addr, "://")
	if !ok {
		scheme, host = "http", addr
	}
	if strings.HasPrefix(host, ":") {
		host = "localhost" + host
	}
	return remote(scheme + "://" + host)
}

// socketClient asks the daemon behind an abstract socket.
func socketClient(name string) *daemonClient {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, name) }
	return &daemonClient{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://weir", at: strings.TrimPrefix(name, controlPrefix)}
}

// dialSocket connects to a daemon. Any user can take the name of a socket that no daemon has, so who is not root listens to
// root and himself only.
func dialSocket(ctx context.Context, name string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", name)
	if err != nil {
		return nil, err
	}
	uid, err := peer(conn)
	if own := os.Geteuid(); err == nil && own != 0 && uid != 0 && uid != uint32(own) {
		err = fmt.Errorf("socket %s is user %d's, neither root's nor your own", name, uid)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// directoryClient asks the daemon that has dir mounted, or else one around it.
func directoryClient(dir string) (*daemonClient, error) {
	if at, ok := mountedAround(dir); ok {
		return socketClient(controlName(at)), nil
	}
	// Only where it must be is the path walked: a dead mount does not answer.
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		if at, ok := mountedAround(real); ok {
			return socketClient(controlName(at)), nil
		}
	}
	return nil, hint(fmt.Errorf("%s: %w", dir, errNoDaemon), "start it: weir mount; or ask one on another machine, or in a container, with -addr HOST:PORT")
}

// mountedAround is the nearest directory that dir is, or is in, for which a weir runs.
func mountedAround(dir string) (at string, ok bool) {
	for at = dir; at != filepath.Dir(at); at = filepath.Dir(at) {
		if runs(at) {
			return at, true
		}
	}
	return "", false
}

func runs(dir string) bool {
	conn, err := net.Dial("unix", controlName(dir))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// runningClients asks every daemon that has a socket.
func runningClients() ([]*daemonClient, error) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, rest, ok := strings.Cut(lines.Text(), " "+controlPrefix); ok && !slices.Contains(names, controlPrefix+rest) {
			names = append(names, controlPrefix+rest)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, hint(errNoDaemon, "start it: weir mount; or ask one on another machine, or in a container, with -addr HOST:PORT")
	}
	var all []*daemonClient
	for _, name := range names {
		all = append(all, socketClient(name))
	}
	return all, nil
}

// get returns the answer to GET path, whatever its status is. The caller closes its body.
func (c *daemonClient) get(ctx context.Context, path string, q url.Values) (*http.Response, error) {
	u := c.base + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	return resp, nil
}

func (c *daemonClient) explain(err error) error {
	err = fmt.Errorf("ask weir at %s: %w", c.at, err)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return hint(err, "no weir serves there: start it, or name another with -addr")
	}
	return remoteHint(err)
}

// getJSON reads the answer to GET path into v; an answer other than 200 is an error.
func (c *daemonClient) getJSON(ctx context.Context, path string, q url.Values, v any) error {
	resp, err := c.get(ctx, path, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.refused(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("weir at %s answers what can't be read: %w", c.at, err)
	}
	return nil
}

// refused makes an error of an answer other than 200.
func (c *daemonClient) refused(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	err := fmt.Errorf("weir at %s answers %s: %s", c.at, resp.Status, strings.TrimSpace(string(text)))
	if resp.StatusCode == http.StatusUnauthorized {
		return hint(err, "set $%s to a file with one of its tokens", tokenVar)
	}
	return remoteHint(err)
}
