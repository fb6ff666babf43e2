package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir/stream"
)

// metricsHandler answers GET /metrics from the databases' status as it is then: nothing is counted for a transaction. Each
// request sees the databases that it may read.
func metricsHandler(statuses func(*http.Request) []stream.Status) http.Handler {
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		databases := prometheus.NewRegistry()
		databases.MustRegister(metrics(statuses(r)))
		promhttp.HandlerFor(prometheus.Gatherers{process, databases}, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
}

// metrics are the metrics of databases.
type metrics []stream.Status

// metric is one metric of a T.
type metric[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*T) float64
}

func gauge[T any](name, help string, labels []string, value func(*T) float64) metric[T] {
	return metric[T]{prometheus.NewDesc("weir_"+name, help, labels, nil), prometheus.GaugeValue, value}
}

var (
	ofDatabase  = []string{"db"}
	ofDirectory = []string{"directory"}
	ofFollower  = []string{"db", "replica"}
)

type (
	status   = stream.Status
	follower = stream.StreamStatus
)

// databaseMetrics are of every database.
var databaseMetrics = []metric[status]{
	{prometheus.NewDesc("weir_transactions_total", "TXID of the newest transaction that readers see.", ofDatabase, nil), prometheus.CounterValue,
		func(s *status) float64 { return float64(s.Pos.TXID) }},
	gauge("database_bytes", "Size of the database.", ofDatabase, func(s *status) float64 { return float64(s.Size) * float64(s.PageSize) }),
	gauge("ready", "1 where readers are shown the database.", ofDatabase, func(s *status) float64 { return number(s.Ready) }),
	gauge("error", "1 while the last error stands.", ofDatabase, func(s *status) float64 { return number(s.LastError != "") }),
	gauge("log_bytes", "Size of the log of transactions.", ofDatabase, func(s *status) float64 { return float64(s.LogBytes) }),
	gauge("log_first_txid", "TXID of the oldest transaction in the log.", ofDatabase, func(s *status) float64 { return float64(s.LogFirst) }),
	gauge("wal_bytes", "Size of the database's WAL.", ofDatabase, func(s *status) float64 { return float64(s.WAL.Bytes) }),
	gauge("wal_frames", "Frames in the WAL, 0 where the wal-index cannot be read.", ofDatabase, func(s *status) float64 { return float64(s.WAL.Frames) }),
	gauge("wal_backfilled_frames", "Frames of the WAL that are in the database.", ofDatabase, func(s *status) float64 { return float64(s.WAL.Backfilled) }),
	gauge("wal_held", "1 while a reader keeps frames of the WAL from being copied into the database.", ofDatabase, func(s *status) float64 { return number(s.WAL.Held) }),
	gauge("followers", "Streams that followers have open.", ofDatabase, func(s *status) float64 { return float64(s.Followers) }),
}

// directoryMetrics are of a directory whose databases come and go.
var directoryMetrics = []metric[status]{
	gauge("directory_ready", "1 where it is known which databases the directory has.", ofDirectory, func(s *status) float64 { return number(s.Ready) }),
	gauge("directory_error", "1 while the directory's last error stands.", ofDirectory, func(s *status) float64 { return number(s.LastError != "") }),
	gauge("directory_connected", "1 while the upstream of a directory of replicas answers, and of one of primaries.", ofDirectory,
		func(s *status) float64 { return number(s.Connected || s.Upstream == "") }),
}

// replicaMetrics are of a database that is a replica.
var replicaMetrics = []metric[status]{
	gauge("connected", "1 while the replica's upstream is connected.", ofDatabase, func(s *status) float64 { return number(s.Connected) }),
	gauge("lag_seconds", "How far the replica is behind the primary, at least.", ofDatabase, func(s *status) float64 { return s.Lag.Seconds() }),
	gauge("lag_transactions", "How far the replica is behind its upstream, as last heard.", ofDatabase, func(s *status) float64 { return float64(s.LagTxns) }),
	gauge("lag_bytes", "How far the replica is behind its upstream, as last heard, in bytes of its log.", ofDatabase, func(s *status) float64 { return float64(s.LagBytes) }),
	gauge("snapshot_pages", "Pages of the database whose snapshot or delta is being received, 0 while none is.", ofDatabase, func(s *status) float64 { return float64(s.SnapshotPages) }),
	gauge("snapshot_received_pages", "Up to which of them it has been received.", ofDatabase, func(s *status) float64 { return float64(s.SnapshotPage) }),
}

// followerMetrics are of each follower of a database.
var followerMetrics = []metric[follower]{
	{prometheus.NewDesc("weir_replica_transactions_total", "TXID that the follower has acknowledged, or else was sent.", ofFollower, nil), prometheus.CounterValue,
		func(f *follower) float64 { return float64(f.Pos.TXID) }},
	gauge("replica_lag_seconds", "For how long the follower has not had all, at most.", ofFollower, func(f *follower) float64 { return f.Lag.Seconds() }),
	gauge("replica_lag_transactions", "How far the follower is behind.", ofFollower, func(f *follower) float64 { return float64(f.LagTxns) }),
	gauge("replica_lag_bytes", "How far the follower is behind, in bytes of the log.", ofFollower, func(f *follower) float64 { return float64(f.Bytes) }),
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var _ = (prometheus.Collector)((metrics)(nil))

// Describe sends nothing: what there is depends on the databases.
func (m metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends all values.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	for _, s := range m {
		if s.Role == stream.RoleDirectory {
			collect(ch, directoryMetrics, &s, s.Path)
			continue
		}
		collect(ch, databaseMetrics, &s, s.Path)
		if s.Role == stream.RoleReplica {
			collect(ch, replicaMetrics, &s, s.Path)
		}
		for _, f := range s.Streams {
			collect(ch, followerMetrics, &f, s.Path, f.Addr)
		}
		ch <- prometheus.MustNewConstMetric(databaseInfo, prometheus.GaugeValue, 1, s.Path, s.Role, s.Upstream)
	}
}

var databaseInfo = prometheus.NewDesc("weir_database_info", "The database's role, and what it follows.", []string{"db", "role", "upstream"}, nil)

func collect[T any](ch chan<- prometheus.Metric, all []metric[T], of *T, labels ...string) {
	for _, m := range all {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(of), labels...)
	}
}
