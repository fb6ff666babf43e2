package main

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/stream"
)

var (
	flagChromium = flag.String("page.chromium", "", "the Chromium in which TestPageInChromium shows the page; \"\": the test does not run")
	flagShots    = flag.String("page.shots", "", "directory for pictures of the page, for people to look at")
)

// TestPageInChromium shows the page in a real browser.
func TestPageInChromium(t *testing.T) {
	if *flagChromium == "" {
		t.Skip("it takes a browser: give -page.chromium chromium")
	}
	c := startChromium(t, *flagChromium)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *chromium)
	}{
		{"Chain", pageOfChain},
		{"Troubles", pageOfTroubles},
		{"Tokens", pageWithTokens},
		{"Hostile", pageOfHostile},
		{"Looks", pageLooks},
		{"Judges", pageJudges},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, c) })
	}
}

// startLoad starts a process that commits to a node's database until it or the test ends.
func startLoad(t *testing.T, n *node) *background {
	t.Helper()
	shell(t, n.db, "PRAGMA journal_mode = wal;"+ledgerSchema)
	l := load{Seed: 1, Pause: 10 * time.Millisecond, DBs: []ledger{{Path: n.db, Modes: []string{"wal"}, MaxItems: 1000}}}
	return startBackground(t, "load", asJSON(l))
}

// nameOf is how the upstream of a replica calls it.
func nameOf(t *testing.T, replica *node) string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return host + ":" + replica.db
}

// A primary, its replica, and a replica of that: each page shows what its weir knows, and draws it.
func pageOfChain(t *testing.T, c *chromium) {
	primary, middle := startPair(t)
	startLoad(t, primary)
	last := newNode(t, "last")
	last.follow(middle)
	last.start()
	of := map[*node]*tab{primary: c.open(t, "http://"+primary.addr), middle: c.open(t, "http://"+middle.addr), last: c.open(t, "http://"+last.addr)}
	of[primary].await(".topology", "primary, here", primary.db, nameOf(t, middle), "replica", nameOf(t, last))
	of[middle].await(".topology", "primary", "http://"+primary.addr, "connected", "replica, here", middle.db, nameOf(t, last))
	of[last].await(".topology", "primary", "http://"+middle.addr, "connected", "replica, here", last.db)
	for n, tab := range of {
		tab.await("summary", n.db, "ok")
		tab.await("#verdict", "all is well")
		tab.await(".more", "TXID", "iB", "page")
		tab.until("charts with lines", func() (string, bool) { return tab.drawn(1) })
		tab.until("commits", func() (string, bool) {
			var rate float64
			text := tab.text(".charts figure:last-child .value")
			_, err := fmt.Sscanf(text, "%g", &rate)
			return text, err == nil && rate > 0
		})
		tab.faultless(n.addr)
	}
}

// drawn tells whether each chart has at least so many lines in colours of its legend. Lines may cover each other.
func (b *tab) drawn(lines int) (string, bool) {
	b.t.Helper()
	var fewer []string
	b.eval(fmt.Sprintf(`(() => {
		const fewer = [];
		for (const figure of document.querySelectorAll("figure")) {
			const canvas = figure.querySelector("canvas");
			if (!canvas) { fewer.push("no canvas"); continue; }
			const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
			const colors = [...figure.querySelectorAll(".swatch")].map((s) => getComputedStyle(s).backgroundColor.match(/\d+/g).map(Number));
			const seen = colors.filter(([r, g, b]) => {
				for (let i = 0; i < pixels.length; i += 4) {
					if (pixels[i + 3] > 200 && Math.abs(pixels[i] - r) + Math.abs(pixels[i + 1] - g) + Math.abs(pixels[i + 2] - b) < 20) return true;
				}
			});
			if (seen.length < %d) fewer.push("only [" + seen.join("; ") + "] of " + colors.join("; "));
		}
		return fewer;
	})()`, lines), &fewer)
	return fmt.Sprintf("%q", fewer), len(fewer) == 0
}

// What is wrong is seen at a glance, on the page of each weir that knows of it: a replica that is slow, one that has gone, an
// upstream and a weir that do not answer. It is over when it is.
func pageOfTroubles(t *testing.T, c *chromium) {
	primary, slow := startPair(t)
	writer := startLoad(t, primary)
	lost := newNode(t, "lost")
	lost.follow(primary)
	lost.start()
	awaitFollowers(t, primary, 2)
	tab, slowTab := c.open(t, "http://"+primary.addr), c.open(t, "http://"+slow.addr)
	tab.await("#verdict", "all is well")
	slowTab.await("#verdict", "all is well")
	tab.pause() // for the pictures: charts with something in them

	lost.kill()
	slow.signal(syscall.SIGSTOP)
	// In the end it is gone, too: on a busy machine that may be all there is to see.
	slowly := regexp.MustCompile(regexp.QuoteMeta(nameOf(t, slow)) + ` is (behind by|silent for|gone for) `)
	tab.until("two problems", func() (string, bool) {
		text := tab.text("#problems")
		return text, slowly.MatchString(text) && strings.Contains(text, nameOf(t, lost)+" is gone for ")
	})
	tab.await("#verdict", "2 problems")
	tab.await(".topology", "gone")
	if title := tab.title(); !strings.HasPrefix(title, "(2 problems) "+primary.addr) {
		t.Errorf("got the title %q", title)
	}
	slowTab.await("#silence", "Weir does not answer since")
	tab.pause()
	tab.shoot("troubles")

	slow.signal(syscall.SIGCONT)
	slowTab.await("#verdict", "all is well")
	tab.await("#verdict", "1 problem")
	tab.faultless(primary.addr)
	writer.kill() // who has files of a dead mount open keeps it from being replaced
	primary.kill()
	slowTab.await("#problems", "not connected to its upstream http://"+primary.addr, "error for ")
	slowTab.await(".topology", "not connected")
	slowTab.await(".errors", "stands, for")
	slowTab.shoot("upstream")
	tab.await("#silence", "Weir does not answer since", "the connection fails", "What stands below is from then")
	tab.await("#verdict", "no answer")
	tab.shoot("silent")

	primary.start()
	tab.await("#verdict", "all is well")
	slowTab.await("#verdict", "all is well")
	slowTab.await(".errors", "over after")
	if silence := tab.text("#silence"); silence != "" {
		t.Errorf("it answers again, and the page says %q", silence)
	}
	slowTab.faultless(slow.addr)
}

func awaitFollowers(t *testing.T, n *node, want int) {
	t.Helper()
	n.awaitStatus("its followers", func(s stream.Status) bool {
		acked := func(f stream.StreamStatus) bool { return !f.AckedAt.IsZero() }
		return len(s.Streams) == want && !slices.ContainsFunc(s.Streams, func(f stream.StreamStatus) bool { return !acked(f) })
	})
}

// A browser shows the token as a password, also for the files of the page and what that asks for.
func pageWithTokens(t *testing.T, c *chromium) {
	n := newNode(t, "primary")
	n.configure("addr: %q\ntokens:\n  - {name: a, token: %s, dbs: [%q]}\n  - {name: b, token: %s, dbs: [/srv/other]}\ndbs:\n  - path: %s\n", n.addr, replicaToken, n.db, otherToken, n.db)
	n.start()
	tab := c.open(t, "http://anyone:"+replicaToken+"@"+n.addr)
	tab.await("summary", n.db)
	tab.await("figure", "Lag", "Nothing to show yet.") // nobody follows
	tab.faultless(n.addr)
	other := c.open(t, "http://anyone:"+otherToken+"@"+n.addr)
	other.await("#empty", "no database that you may read")
	if text := other.text("body"); strings.Contains(text, n.db) {
		t.Errorf("the token of another database shows\n%s", text)
	}
	other.faultless(n.addr)
}

// fakeWeir serves the page, and statuses made up for the test.
func fakeWeir(t *testing.T, statuses func() []stream.Status) (url string) {
	t.Helper()
	mux := http.NewServeMux()
	handlePage(mux, http.NotFoundHandler())
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(statuses()) })
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h.URL
}

// Whatever a text holds that comes from elsewhere, it is shown as it is.
func pageOfHostile(t *testing.T, c *chromium) {
	const hostile = `"'><script>window.hacked=1</script><img src=x onerror=window.hacked=1><b>`
	url := fakeWeir(t, func() []stream.Status {
		s := fakeReplica("/data/"+hostile, time.Now())
		s.Connected = false
		s.Upstream, s.LastError, s.WAL.HeldCommand = "javascript:window.hacked=1//"+hostile, "error "+hostile, "app "+hostile
		s.Errors = []stream.Fault{{Text: s.LastError, At: s.LastErrorAt}}
		s.Streams[0].Name, s.Streams[1].Name, s.Streams[1].Addr = "name "+hostile, "", "addr "+hostile
		s.Streams[0].Streams[0].Name, s.Streams[0].Gone[0].Reason = "below "+hostile, "below "+hostile
		s.Gone[0].Name, s.Gone[0].Addr, s.Gone[0].Reason = "gone "+hostile, "from "+hostile, "reason "+hostile
		return []stream.Status{s}
	})
	tab := c.open(t, url)
	tab.await("summary", "/data/"+hostile)
	tab.await("#problems", "error "+hostile, "javascript:window.hacked=1//"+hostile, "gone "+hostile, "reason "+hostile)
	tab.await(".topology", "javascript:window.hacked=1//"+hostile, "name "+hostile, "below "+hostile, "addr "+hostile, "from "+hostile)
	tab.await(".legend", "name "+hostile, "addr "+hostile)
	tab.await(".errors", "error "+hostile)
	tab.await(".facts", "app "+hostile)
	var got string
	tab.eval(`[typeof window.hacked, document.images.length, document.scripts.length, document.querySelectorAll("b, a[href^=javascript]").length].join()`, &got)
	if want := "undefined,1,2,0"; got != want {
		t.Errorf("got %s, want %s: nothing has run, and there are no elements but the page's", got, want)
	}
	tab.faultless(strings.TrimPrefix(url, "http://"))

	// Even if the page made markup of it, the policy would stop that.
	for _, attack := range []string{
		`document.body.innerHTML = "<img src=x>"`,
		`document.body.append(Object.assign(document.createElement("script"), { textContent: "window.hacked=1" }))`,
		`(() => { const s = document.createElement("script"); s.append("window.hacked=1"); document.body.append(s); if (!window.hacked) throw new TypeError("not run"); })()`,
	} {
		tab.eval("(() => { try { "+attack+"; return 'done' } catch (err) { return err.name } })()", &got)
		if got == "done" {
			t.Errorf("the policy allows %s", attack)
		}
	}
	tab.eval(`new Promise((done) => {
		document.addEventListener("securitypolicyviolation", (e) => done(e.effectiveDirective));
		fetch("http://127.0.0.2:9/").then(() => done("answered"), () => setTimeout(done, 5000, "asked"));
	})`, &got)
	if got != "connect-src" {
		t.Errorf("the policy allows to ask another server: %s", got)
	}
}

// fakeReplica is a replica with two followers, of which one has some of its own, and one that is gone.
func fakeReplica(path string, now time.Time) stream.Status {
	pos := func(n int64) stream.Pos { return stream.Pos{TXID: stream.TXID(n), PostApplyChecksum: 1 << 63} }
	txid := now.UnixMilli() / 10
	slower, slowest := txid*2/3, txid/3 // so that all lines are seen
	return stream.Status{
		At: now, Path: path, Role: stream.RoleReplica, ID: strings.Repeat("a", 32), Pos: pos(txid), PageSize: 4096, Size: 1234, Ready: true,
		WAL: stream.WALStatus{Bytes: 99999, Frames: 20, Held: true, HeldFrame: 7, HeldPID: 17, HeldCommand: "app"}, LogBytes: 5 << 20, LogFirst: 3,
		Upstream: "https://primary.example:9090", Distance: 3, UpstreamPos: pos(txid), Connected: true, Lag: 1200 * time.Millisecond, Followers: 2,
		Streams: []stream.StreamStatus{
			{Name: "east:" + path, Addr: "10.0.0.1:5000", Since: now.Add(-time.Hour), Pos: pos(slower), AckedAt: now.Add(-time.Second), LagTxns: 2, Lag: 500 * time.Millisecond,
				Streams: []stream.StreamStatus{{Name: "islands:" + path, Addr: "10.0.1.1:5000", Since: now.Add(-time.Hour), Pos: pos(slower), AckedAt: now.Add(-2 * time.Second)}},
				Gone:    []stream.GoneStream{{Name: "harbour:" + path, Addr: "10.0.1.2:5000", Pos: pos(slower), At: now.Add(-time.Minute), Reason: "its host did not answer any more"}}},
			{Name: "west:" + path, Addr: "10.0.0.2:5000", Since: now.Add(-time.Hour), Pos: pos(slowest), AckedAt: now.Add(-time.Second), LagTxns: 250, Lag: 4 * time.Second, Bytes: 90000},
		},
		Gone:      []stream.GoneStream{{Name: "south:" + path, Addr: "10.0.0.3:5000", Pos: pos(txid - 9000), At: now.Add(-3 * time.Minute), Reason: "its connection was closed or lost"}},
		LastError: "it stands", LastErrorAt: now.Add(-time.Minute),
		Errors: []stream.Fault{{Text: "it is over", At: now.Add(-time.Hour), Until: now.Add(-time.Hour + 3*time.Second)}, {Text: "it stands", At: now.Add(-time.Minute)}},
	}
}

// It is readable in both themes and on a phone, and with many databases.
func pageLooks(t *testing.T, c *chromium) {
	const many = 9
	var databases atomic.Int32
	databases.Store(1)
	url := fakeWeir(t, func() (all []stream.Status) {
		for i := range databases.Load() {
			all = append(all, fakeReplica(fmt.Sprintf("/data/a-long-directory-name-without-a-place-to-break/%d/database.sqlite3", i), time.Now()))
		}
		return all
	})
	one := c.open(t, url)
	one.await(".topology", "primary", "1 replica between", "https://primary.example:9090", "east", "west", "south", "islands", "harbour", "gone")
	one.await("#problems", "replica harbour of east is gone for 59 s: its host did not answer any more")
	one.await("#verdict", "4 problems")
	allDrawn := func() (string, bool) { return one.drawn(3) }
	for _, theme := range []string{"light", "dark"} {
		one.theme(theme)
		one.until(theme+" charts", allDrawn)
		var light bool
		one.eval(`getComputedStyle(document.body).backgroundColor.match(/\d+/g).every((v) => v > 127)`, &light)
		if light != (theme == "light") {
			t.Errorf("the %s theme is not", theme)
		}
		var faint []string
		one.eval(faintTexts, &faint)
		if len(faint) > 0 {
			t.Errorf("%s: got texts with too little contrast: %q", theme, faint)
		}
		for _, width := range []int{320, 390, 768, 1280} {
			one.width(width)
			one.until("charts of the page's width", allDrawn)
			one.until("nothing wider than the page", func() (string, bool) {
				var wide []string
				one.eval(`[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map((e) => e.outerHTML.slice(0, 100))`, &wide)
				return fmt.Sprintf("%s, %d pixels: %q", theme, width, wide), len(wide) == 0
			})
		}
	}
	one.shoot("looks")

	databases.Store(many)
	all := c.open(t, url)
	all.await("#databases", "/8/database.sqlite3")
	var open []bool
	all.eval(`[...document.querySelectorAll("details")].map((d) => d.open)`, &open)
	if len(open) != many || slices.Contains(open, true) {
		t.Errorf("got %v, want %d closed ones", open, many)
	}
	all.shoot("many")
	all.eval(`document.querySelector("summary").click() ?? null`, new(any))
	all.await("details[open] .topology", "east")
	all.until("charts", func() (string, bool) {
		var n int
		all.eval(`document.querySelectorAll("details[open] canvas").length`, &n)
		return fmt.Sprint(n), n == 2
	})
	for _, b := range []*tab{one, all} {
		b.faultless(strings.TrimPrefix(url, "http://"))
	}
}

// faintTexts are the texts that have less contrast with what lies behind them than they should:
// https://www.w3.org/TR/WCAG21/#contrast-minimum
const faintTexts = `(() => {
	const parse = (color) => { const n = color.match(/[\d.]+/g).map(Number); return { rgb: n.slice(0, 3), alpha: n[3] ?? 1 }; };
	const light = (rgb) => { const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.alpha === 1) return c.rgb; } return [255, 255, 255]; };
	const faint = [];
	for (const e of document.querySelectorAll("body *")) {
		if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		const [a, b] = [light(parse(getComputedStyle(e).color).rgb), light(behind(e))].sort((x, y) => y - x);
		if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(e.textContent);
	}
	return faint;
})()`

func (b *tab) theme(name string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", params{"features": []params{{"name": "prefers-color-scheme", "value": name}}}, nil)
}

func (b *tab) width(pixels int) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", params{"width": pixels, "height": 844, "deviceScaleFactor": 1, "mobile": pixels < 700}, nil)
}

func (b *tab) title() (title string) {
	b.t.Helper()
	b.eval("document.title", &title)
	return title
}

// pause waits for the pictures alone.
func (b *tab) pause() {
	if *flagShots != "" {
		time.Sleep(8 * time.Second)
	}
}

// shoot takes pictures of the whole page, in both themes and for a desk and a phone, where they are wanted.
func (b *tab) shoot(name string) {
	b.t.Helper()
	if *flagShots == "" {
		return
	}
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int{1280, 390} {
			b.theme(theme)
			b.width(width)
			time.Sleep(1500 * time.Millisecond) // for the next answer
			var shot struct{ Data string }
			b.call("Page.captureScreenshot", params{"captureBeyondViewport": true}, &shot)
			picture, err := base64.StdEncoding.DecodeString(shot.Data)
			if err != nil {
				b.t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*flagShots, fmt.Sprintf("%s-%s-%d.png", name, theme, width)), picture, 0o644); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// pageJudges gives the parts of the page that only reckon what they may get.
func pageJudges(t *testing.T, c *chromium) {
	tab := c.open(t, fakeWeir(t, func() []stream.Status { return []stream.Status{} }))
	tab.await("#empty", "no database")
	for expression, want := range map[string]string{
		`units.duration(0)`:                                     "0 ms",
		`units.duration(0.0004)`:                                "0.4 ms",
		`units.duration(0.0321)`:                                "32 ms",
		`units.duration(0.9996)`:                                "1 s",
		`units.duration(9.96)`:                                  "10 s",
		`units.duration(59.7)`:                                  "1 min",
		`units.duration(61)`:                                    "1 min 1 s",
		`units.duration(7260)`:                                  "2 h 1 min",
		`units.duration(2592000)`:                               "30 d",
		`units.age(0.4)`:                                        "0 s",
		`units.age(9.9)`:                                        "9 s",
		`units.bytes(1023)`:                                     "1023 B",
		`units.bytes(1536)`:                                     "1.5 KiB",
		`units.rate(0.25)`:                                      "0.3/s",
		`units.rate(12345)`:                                     "12.3k/s",
		`units.count(1, "page")`:                                "1 page",
		`judge.txid("0000000000000000/0000000000000000")`:       "",
		`judge.txid("000000000000002a/8000000000000000")`:       "000000000000002a",
		`judge.shortName("east:/data/db", "/data/db")`:          "east",
		`judge.shortName("east:/srv/db", "/data/db")`:           "east:/srv/db",
		`judge.problems(replica({})).map((p) => p.text).join()`: "",
		`judge.problems(replica({ lagSeconds: 3 })).map((p) => p.level + p.text).join()`:                         "warnbehind by 3 s",
		`judge.problems(replica({ lagSeconds: 30, lagTxns: 1 })).map((p) => p.level + p.text).join()`:            "badbehind by 30 s, 1 transaction",
		`judge.problems(replica({ connected: false })).map((p) => p.level + p.text).join()`:                      "badnot connected to its upstream http://up, perhaps behind by 0 ms",
		`judge.problems(replica({ ready: false, snapshotPage: 7, snapshotPages: 9 })).map((p) => p.text).join()`: "not shown to readers yet: page 7 of 9 received",
		`judge.problems(replica({ ready: false })).map((p) => p.level + p.text).join()`:                          "badnot shown to readers yet",
		`judge.problems(replica({ lastError: "no", lastErrorAt: at(-90) })).map((p) => p.level + p.text).join()`: "baderror for 1 min 30 s: no",
		`judge.followerState({ pos: pos(1), lagSeconds: 0, ackedAt: at(-16) }, at(0)).word`:                      "silent for 16 s",
		`judge.followerState({ pos: pos(1), lagSeconds: 0 }, at(0)).word`:                                        "ok",
		`judge.followerState({ pos: pos(0), lagSeconds: 0 }, at(0)).word`:                                        "gets a snapshot",
		`judge.followerState({ pos: pos(1), lagSeconds: 11 }, at(0)).level`:                                      "bad",
		`rates([0, 1], [1, 2], [2, 3])`:                                                                                          "null,1,1",
		`rates([0, 10], [1, 10], [2, 10], [3, 40], [4, 40], [5, 40], [6, 40])`:                                                   "null,0,0,10,10,10,0",
		`rates([0, 0], [1, 500], [2, 502])`:                                                                                      "null,null,2",
		`rates([0, 100], [1, 5], [2, 6])`:                                                                                        "null,null,1",
		`rates([0, 1], [1, 2], "pause", [9, 4], [10, 5])`:                                                                        "null,1,null,null,1",
		`rates(...Array.from({ length: 2000 }, (_, i) => [i, i])).split(",").length <= history.keepFor + 2`:                      "true",
		`rates([0, 1], [0, 2])`:                                                                                                  "null",
		`topology.columns(replica({ distance: 1 }), new history.History()).map((c) => c[0].kind).join("|")`:                      "primary|replica, here",
		`topology.columns(replica({ distance: 2 }), new history.History()).map((c) => c[0].kind).join("|")`:                      "|replica|replica, here",
		`topology.columns(replica({ distance: 5 }), new history.History()).map((c) => c[0].kind).join("|")`:                      "3 replicas between|replica|replica, here",
		`topology.columns(replica({ connected: false }), new history.History()).map((c) => c[0].kind).join("|")`:                 "upstream|replica, here",
		`topology.columns({ ...replica({}), role: "primary" }, new history.History()).map((c) => c.length).join()`:               "1",
		`topology.columns(below(), new history.History()).map((c) => c.map((n) => n.title + n.from + n.order).join()).join("|")`: "http://up00|/data/db01|a02,b05|c03,d04,e16",
		`topology.columns(below(), new history.History())[3].map((n) => n.word).join()`:                                          "ok,gone,ok",
		`judge.problems(below()).map((p) => p.text).join()`:                                                                      "replica d of a is gone for 9 s: lost",
	} {
		var got string
		tab.eval(fmt.Sprintf(`(async () => {
			const [units, judge, history, topology] = await Promise.all(["units", "judge", "history", "topology"].map((name) => import("/page/" + name + ".js")));
			const at = (s) => new Date(1e12 + s * 1000).toISOString(), pos = (n) => n.toString(16).padStart(16, "0") + "/8000000000000000";
			const replica = (other) => ({ at: at(0), path: "/data/db", role: "replica", pos: pos(7), upstream: "http://up", upstreamPos: pos(7), connected: true, ready: true, lagSeconds: 0, lagTxns: 0, sizePages: 1, pageSizeBytes: 512, streams: [], ...other });
			const follower = (name, ack, other) => ({ name, addr: name, since: at(-99), pos: pos(7), ackedAt: at(ack), lagSeconds: 0, lagTxns: 0, ...other });
			const below = () => replica({ distance: 1, streams: [
				follower("a", -9, { streams: [follower("c", -20)], gone: [{ name: "d", addr: "d", at: at(-18), reason: "lost" }] }),
				follower("b", 0, { streams: [follower("e", 0)] })] });
			const rates = (...samples) => {
				const h = new history.History();
				for (const s of samples) s === "pause" ? h.pause() : h.add(replica({ at: at(s[0]), pos: pos(s[1]) }));
				return h.tracks.get("").rate.map(String).join();
			};
			return String(%s);
		})()`, expression), &got)
		if got != want {
			t.Errorf("%s: got %q, want %q", expression, got, want)
		}
	}
}
