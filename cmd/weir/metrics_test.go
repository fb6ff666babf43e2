package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"weir/stream"
)

// metric returns the value of a metric of the node; labels are a part of what stands in braces.
func (n *node) metric(name, labels string) (float64, error) {
	n.t.Helper()
	code, body := n.get("GET", "/metrics")
	found := regexp.MustCompile(`(?m)^` + name + `\{[^}]*` + regexp.QuoteMeta(labels) + `[^}]*\} (.*)$`).FindStringSubmatch(body)
	if code != 200 || found == nil {
		return 0, fmt.Errorf("GET /metrics: got %d and no %s{%s} in\n%s", code, name, labels, body)
	}
	return strconv.ParseFloat(found[1], 64)
}

// TestMetrics compares metrics with the status, on both sides.
func TestMetrics(t *testing.T) {
	primary, replica := startPair(t)
	shell(t, primary.db, "PRAGMA journal_mode=wal;"+auditSchema+auditStep)
	awaitEqual(t, primary, replica)
	var s stream.Status
	primary.awaitStatus("a follower that has acknowledged all", func(now stream.Status) bool {
		s = now
		return len(s.Streams) == 1 && s.Streams[0].Pos == s.Pos && !s.Streams[0].AckedAt.IsZero()
	})
	for _, tt := range []struct {
		n      *node
		name   string
		labels string
		want   float64
	}{
		{primary, "weir_transactions_total", `db="` + primary.db + `"`, float64(s.Pos.TXID)},
		{primary, "weir_database_bytes", primary.db, float64(s.Size) * float64(s.PageSize)},
		{primary, "weir_log_bytes", primary.db, float64(s.LogBytes)},
		{primary, "weir_followers", primary.db, 1},
		{primary, "weir_replica_transactions_total", `replica="` + s.Streams[0].Addr + `"`, float64(s.Pos.TXID)},
		{primary, "weir_replica_lag_transactions", s.Streams[0].Addr, 0},
		{primary, "weir_database_info", `role="primary"`, 1},
		{replica, "weir_transactions_total", replica.db, float64(s.Pos.TXID)},
		{replica, "weir_ready", replica.db, 1},
		{replica, "weir_connected", replica.db, 1},
		{replica, "weir_lag_transactions", replica.db, 0},
		{replica, "weir_lag_seconds", replica.db, 0},
		{replica, "weir_database_info", `upstream="http://` + primary.addr, 1},
	} {
		tt.n.eventually(tt.name, func() error { // a heartbeat may be late
			got, err := tt.n.metric(tt.name, tt.labels)
			if err == nil && got != tt.want {
				err = fmt.Errorf("got %v, want %v", got, tt.want)
			}
			return err
		})
	}
	if _, body := primary.get("GET", "/metrics"); !strings.Contains(body, "go_goroutines") || !strings.Contains(body, "process_open_fds") || strings.Contains(body, "weir_lag") {
		t.Errorf("primary: got no Go and process metrics, or a replica's lag, in\n%s", body)
	}
}

// TestReady follows a replica from before its first snapshot to after its primary is gone.
func TestReady(t *testing.T) {
	primary := newPrimary(t)
	replica := newReplica(t, primary)
	replica.start()
	get := func(q string) string {
		code, body := replica.get("GET", "/ready"+q)
		return fmt.Sprint(code, " ", body)
	}
	if code, body := replica.get("GET", "/health"); code != 200 || body != "ok\n" {
		t.Errorf("GET /health: got %d and %q", code, body)
	}
	if got := get(""); !strings.HasPrefix(got, "503 "+replica.db+": not ready: not shown yet") {
		t.Errorf("before the first snapshot: got %s", got)
	}
	primary.start()
	shell(t, primary.db, auditSchema)
	awaitEqual(t, primary, replica)
	replica.eventually("it ready", func() error {
		if got := get("?db=" + url.QueryEscape(replica.db)); got != "200 "+replica.db+": ready\n" {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
	for q, want := range map[string]string{"?db=/no/such": "404 ", "?max-lag=x": "400 "} {
		if got := get(q); !strings.HasPrefix(got, want) {
			t.Errorf("GET /ready%s: got %s, want %s", q, got, want)
		}
	}
	primary.stop()
	replica.eventually("it behind", func() error {
		if got := get("?max-lag=100ms"); !strings.HasPrefix(got, "503 "+replica.db+": not ready: behind by ") {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
	req, _ := http.NewRequest("GET", "http://"+replica.addr+"/ready?max-lag=1ms", nil)
	req.Header.Set("Accept", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []readiness
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil || resp.StatusCode != 503 || len(all) != 1 || all[0].Ready || all[0].Reason == "" {
		t.Errorf("as JSON: got %s, %+v, %v", resp.Status, all, err)
	}
}

// TestPprof finds profiles where they were asked for, and nowhere else.
func TestPprof(t *testing.T) {
	n := newPrimary(t)
	addr, err := freeAddr(ownIP())
	if err != nil {
		t.Fatal(err)
	}
	n.start("-pprof", addr)
	if code, _ := n.get("GET", "/debug/pprof/"); code != 404 {
		t.Errorf("GET /debug/pprof/ beside the stream: got %d, want 404", code)
	}
	resp, err := http.Get("http://" + addr + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), "goroutine profile") {
		t.Errorf("got %s, %v and %.100s", resp.Status, err, body)
	}
}
