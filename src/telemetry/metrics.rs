//! Prometheus metrics of `GET /metrics` on `server.ops_listen`.
//!
//! All counters are sharded relaxed atomics: counting must never block a request or contend for a cache line.

use crate::threads;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Shards of a [`Counter`]; with more threads than shards, some threads share one.
const SHARDS: usize = 16;

/// A counter sharded by thread (`threads::number`), so that threads do not contend for one cache line.
#[derive(Debug, Default)]
pub struct Counter([Shard; SHARDS]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        let part = &self.0[threads::number() % SHARDS];
        part.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        let parts = self.0.iter();
        parts.map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

/// Upper bounds of the histogram's buckets, in microseconds.
const BOUNDS: [u64; 12] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000,
];

/// A histogram of durations with the fixed bucket bounds `BOUNDS`.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Counts per bucket; the last one holds values above the largest bound.
    buckets: [Counter; BOUNDS.len() + 1],
    nanoseconds: Counter,
}

impl Histogram {
    /// Records one duration.
    pub fn record(&self, span: Duration) {
        let micros = u64::try_from(span.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[at].add(1);
        self.nanoseconds
            .add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Appends the `_bucket` (cumulative), `_sum` and `_count` rows of the text format.
    fn render(&self, text: &mut String, name: &str) {
        let mut below = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            below += bucket.value();
            // `writeln!` to a `String` cannot fail.
            let _ = match BOUNDS.get(at) {
                Some(bound) => {
                    let seconds = *bound as f64 / 1e6;
                    writeln!(text, "resullm_{name}_bucket{{le=\"{seconds}\"}} {below}")
                }
                None => writeln!(text, "resullm_{name}_bucket{{le=\"+Inf\"}} {below}"),
            };
        }
        let seconds = self.nanoseconds.value() as f64 / 1e9;
        let _ = writeln!(
            text,
            "resullm_{name}_sum {seconds}\nresullm_{name}_count {below}"
        );
    }
}

/// All counters of the gateway. Their help texts stand in `TOTALS` and in `render_by_label`.
#[derive(Debug, Default)]
pub struct Metrics {
    pub requests_local: Counter,
    pub requests_provider: Counter,
    /// Calls admitted from this instance's lease budget, without asking the store.
    pub admissions_leased: Counter,
    /// Calls admitted by the store.
    pub admissions_stored: Counter,
    /// Duration of a provider call, without the time spent waiting for the provider and for the client's
    /// body.
    pub own_time: Histogram,
    /// Responses by status class: index 2 counts `2xx`.
    pub answers: [Counter; 6],
    pub tokens_charged: Counter,
    pub tokens_overrun: Counter,
    pub settlements_waiting: Counter,
    pub settlements_delivered_late: Counter,
    pub store_errors: Counter,
    pub truncated_streams: Counter,
    pub clients_gone: Counter,
    /// Responses read to their end for their usage after the client had disconnected (`upstream.drain`).
    pub answers_drained: Counter,
    /// Charges whose `basis` is `counted`: the provider reported no credible usage, so delivered tokens were
    /// counted.
    pub charges_counted: Counter,
    /// Charges whose `basis` is `held`: the whole hold, because more may have been generated than was seen.
    pub charges_held: Counter,
    /// Usage reports rejected because they are zero despite a prompt or an answer.
    pub doubted_nought: Counter,
    /// Usage reports rejected because they are below the lower bound of the delivered tokens.
    pub doubted_below_delivered: Counter,
    /// Usage reports rejected because no call can use that many tokens.
    pub doubted_absurd: Counter,
    pub panics: Counter,
    pub records_dropped: Counter,
    /// Connections rejected by `server.max_connections`.
    pub shed_connections: Counter,
    /// Connections rejected by `server.max_connections_per_address`.
    pub shed_addresses: Counter,
    /// Connections whose TLS or HTTP/2 handshake failed or timed out.
    pub failed_handshakes: Counter,
    /// HTTP/2 connections closed with `ENHANCE_YOUR_CALM` because the client sent malformed or abandoned
    /// requests.
    pub ended_connections: Counter,
    /// Requests rejected by `server.max_requests`.
    pub shed_requests: Counter,
    /// Calls rejected by `server.max_requests_per_tenant`.
    pub shed_tenants: Counter,
    /// Bodies rejected by `server.max_buffered`.
    pub shed_bodies: Counter,
    /// Calls rejected because their worker lagged by more than `server.shed_after`.
    pub shed_late: Counter,
}

/// Values of the gauges at the time of [`Metrics::render`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    pub requests: usize,
    pub connections: usize,
    /// Bytes of body memory in use (`server.max_buffered`).
    pub buffered: usize,
    pub store_up: bool,
}

impl Metrics {
    /// Counts a response by its status class.
    pub fn count_response(&self, status: u16) {
        if let Some(counter) = self.answers.get(usize::from(status / 100)) {
            counter.add(1);
        }
    }

    /// Renders everything in the Prometheus text format.
    pub fn render(&self, levels: Gauges) -> String {
        let mut text = Exposition::default();
        text.gauge("build_info", "Version of the gateway", BUILD, 1);
        render_levels(&mut text, levels);
        self.render_by_label(&mut text);
        for (name, help, counter) in TOTALS {
            text.counters(name, help, &[("", counter(self).value())]);
        }
        text.head(
            "own_seconds",
            "Time that the gateway itself took for a provider call: without waiting for the provider and for the request's body",
            "histogram",
        );
        self.own_time.render(&mut text.0, "own_seconds");
        text.0
    }

    fn render_by_label(&self, text: &mut Exposition) {
        text.counters(
            "shed_total",
            "Requests and connections refused by a limit: of connections, by address, of requests, by tenant, of body memory, \
             or because a worker was late (server.shed_after)",
            &[
                ("{what=\"connections\"}", self.shed_connections.value()),
                ("{what=\"address\"}", self.shed_addresses.value()),
                ("{what=\"requests\"}", self.shed_requests.value()),
                ("{what=\"tenant\"}", self.shed_tenants.value()),
                ("{what=\"bodies\"}", self.shed_bodies.value()),
                ("{what=\"late\"}", self.shed_late.value()),
            ],
        );
        text.counters(
            "requests_total",
            "Requests for routes of the gateway itself, and calls of providers",
            &[
                ("{answered_by=\"gateway\"}", self.requests_local.value()),
                ("{answered_by=\"provider\"}", self.requests_provider.value()),
            ],
        );
        text.counters(
            "admissions_total",
            "Calls admitted, by what covered them: a lease of this gateway (no round trip), or the store",
            &[
                ("{from=\"lease\"}", self.admissions_leased.value()),
                ("{from=\"store\"}", self.admissions_stored.value()),
            ],
        );
        let classes = ["2xx", "3xx", "4xx", "5xx"].map(|class| format!("{{status=\"{class}\"}}"));
        let answers = [2, 3, 4, 5].map(|class| self.answers[class].value());
        let rows: [(&str, u64); 4] = std::array::from_fn(|n| (classes[n].as_str(), answers[n]));
        text.counters("answers_total", "Responses, by class of status", &rows);
        text.counters(
            "usage_doubted_total",
            "Usage reports of providers that were rejected as implausible: zero, below what was delivered, or absurdly high",
            &[
                ("{reason=\"nought\"}", self.doubted_nought.value()),
                (
                    "{reason=\"below_delivered\"}",
                    self.doubted_below_delivered.value(),
                ),
                ("{reason=\"absurd\"}", self.doubted_absurd.value()),
            ],
        );
        text.counters(
            "charges_unreported_total",
            "Charges without a plausible usage report: by the gateway's own count, or by the whole hold",
            &[
                ("{basis=\"counted\"}", self.charges_counted.value()),
                ("{basis=\"held\"}", self.charges_held.value()),
            ],
        );
    }
}

/// Counter without labels: name, help, value.
type Total = (&'static str, &'static str, fn(&Metrics) -> &Counter);

const TOTALS: &[Total] = &[
    ("tokens_charged_total", "Tokens charged to balances", |m| {
        &m.tokens_charged
    }),
    (
        "tokens_overrun_total",
        "Tokens charged beyond the hold of their call, or beyond a balance; should stay near 0",
        |m| &m.tokens_overrun,
    ),
    (
        "settlements_waiting_total",
        "Settlements and releases that the store did not take at once, so that they are retried",
        |m| &m.settlements_waiting,
    ),
    (
        "settlements_late_total",
        "Retried settlements and releases that succeeded; settlements_waiting_total less this is the backlog",
        |m| &m.settlements_delivered_late,
    ),
    (
        "store_errors_total",
        "Admissions and settlements that the store failed",
        |m| &m.store_errors,
    ),
    (
        "truncated_streams_total",
        "Streams that their provider ended before their last event",
        |m| &m.truncated_streams,
    ),
    (
        "handshakes_failed_total",
        "Connections whose TLS or HTTP/2 handshake failed or took too long",
        |m| &m.failed_handshakes,
    ),
    (
        "connections_ended_total",
        "HTTP/2 connections that the gateway closed for malformed or abandoned requests",
        |m| &m.ended_connections,
    ),
    (
        "clients_gone_total",
        "Clients that disconnected before their response was complete",
        |m| &m.clients_gone,
    ),
    (
        "answers_drained_total",
        "Provider responses that were read to their end for their usage, after the client had disconnected",
        |m| &m.answers_drained,
    ),
    (
        "usage_records_dropped_total",
        "Usage records lost because the store failed or their buffer was full; balances are not affected",
        |m| &m.records_dropped,
    ),
    (
        "panics_total",
        "Requests that ended in a panic; each is a bug, and its place is in the log",
        |m| &m.panics,
    ),
];

const BUILD: &str = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");

fn render_levels(text: &mut Exposition, levels: Gauges) {
    for (name, help, level) in [
        (
            "requests_in_flight",
            "Requests and settlements in progress (limit: server.max_requests)",
            levels.requests,
        ),
        (
            "connections",
            "Open client connections (limit: server.max_connections)",
            levels.connections,
        ),
        (
            "buffered_bytes",
            "Memory that long bodies take (limit: server.max_buffered)",
            levels.buffered,
        ),
        (
            "store_up",
            "1 while the store takes commands; at 0 new calls get 503",
            usize::from(levels.store_up),
        ),
    ] {
        text.gauge(name, help, "", level as u64);
    }
}

/// Text in the Prometheus exposition format.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // `writeln!` to a `String` cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP resullm_{name} {help}\n# TYPE resullm_{name} {kind}"
        );
    }

    fn row(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "resullm_{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &str, value: u64) {
        self.head(name, help, "gauge");
        self.row(name, labels, value);
    }

    fn counters(&mut self, name: &str, help: &str, rows: &[(&str, u64)]) {
        self.head(name, help, "counter");
        for (labels, value) in rows {
            self.row(name, labels, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_histograms_are_rendered() {
        let metrics = Metrics::default();
        metrics.count_response(404);
        metrics.tokens_charged.add(7);
        for micros in [9, 10, 11, 300_000] {
            metrics.own_time.record(Duration::from_micros(micros));
        }
        let text = metrics.render(Gauges {
            requests: 3,
            store_up: true,
            ..Gauges::default()
        });
        for row in [
            "# TYPE resullm_own_seconds histogram",
            "resullm_own_seconds_bucket{le=\"0.00001\"} 2",
            "resullm_own_seconds_bucket{le=\"0.000025\"} 3",
            "resullm_own_seconds_bucket{le=\"0.25\"} 3",
            "resullm_own_seconds_bucket{le=\"+Inf\"} 4",
            "resullm_own_seconds_sum 0.30003",
            "resullm_own_seconds_count 4",
        ] {
            assert!(text.contains(&format!("{row}\n")), "{row}\n{text}");
        }
        assert!(text.contains("resullm_answers_total{status=\"4xx\"} 1\n"));
        assert!(text.contains("resullm_tokens_charged_total 7\n"));
        assert!(text.contains("resullm_requests_in_flight 3\n"));
        assert!(text.contains("resullm_store_up 1\n"));
        assert!(text.contains("# TYPE resullm_requests_in_flight gauge\n"));
    }
}
