//! Prometheus metrics of `GET /metrics` on `server.ops_listen`: their names and help texts.
//!
//! Counting must never block a request or contend for a cache line (`counter`). What has labels of tenants and
//! endpoints is in `series`.

use super::counter::{Counter, Histogram};
use super::series::Families;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// All counters of the gateway. Their help texts stand in `TOTALS` and `BY_LABEL`.
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
    pub tokens_beyond_hold: Counter,
    pub settlements_waiting: Counter,
    pub settlements_delivered_late: Counter,
    pub store_errors: Counter,
    pub app_events_delivered: Counter,
    pub app_events_dropped: Counter,
    /// Events of Stripe that were taken, ignored ones too.
    pub payment_events: Counter,
    /// Events of Stripe that could not be taken and come again.
    pub payment_events_failed: Counter,
    /// Streams that broke off: by a clean end before their last event, or by a reset.
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
    /// Calls answered from the cache, those that waited for an equal one included.
    pub cache_hits: Counter,
    pub cache_misses: Counter,
    /// Calls of tenants with a cache that it does not concern.
    pub cache_bypasses: Counter,
    /// Reads and writes of the cache that the store failed.
    pub cache_errors: Counter,
    /// Series by tenant and endpoint.
    pub families: Families,
    registry: Registry,
}

/// Values of the gauges at the time of [`Metrics::render`].
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    pub requests: usize,
    pub connections: usize,
    /// Bytes of body memory in use (`server.max_buffered`).
    pub buffered: usize,
    pub store_up: bool,
    /// Settlements and releases that are retried until the store takes them.
    pub settlements: usize,
    /// Requests in the journal whose settlement the store does not have yet.
    pub journal: usize,
    pub leases: usize,
    /// Usage records that are not written yet.
    pub records: usize,
    /// Tenants whose calls are refused because their config cannot be used.
    pub configs_refused: usize,
    /// Tenants that are served by their previous config, because the stored one cannot be used.
    pub configs_previous: usize,
    /// Number of models that are passed over, by tenant and endpoint.
    pub passed_over: BTreeMap<(String, String), u64>,
}

/// Facts about the process that do not change while it lives.
#[derive(Debug)]
pub struct Process<'a> {
    /// Kind of the store: `embedded`, `redis`, `redis-sentinel` or `redis-cluster`.
    pub store: &'a str,
    /// Latency of the store's commands.
    pub store_time: Option<&'a Histogram>,
}

impl Metrics {
    pub fn new(process: &Process<'_>) -> Metrics {
        let mut metrics = Metrics::default();
        let mut registry = Registry::default();
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        registry.register(
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970",
            ConstGauge::new(started.unwrap_or_default().as_secs_f64()),
        );
        metrics.register(registry.sub_registry_with_prefix("resullm"), process);
        metrics.registry = registry;
        metrics
    }

    /// Counts a response by its status class.
    pub fn count_response(&self, status: u16) {
        if let Some(counter) = self.answers.get(usize::from(status / 100)) {
            counter.add(1);
        }
    }

    /// Renders everything in the Prometheus text format, as [`CONTENT_TYPE`].
    pub fn render(&self, levels: Gauges) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = prometheus_text::encode(&mut text, &registry_of(levels));
        let _ = prometheus_text::encode(&mut text, &self.registry);
        text
    }

    fn register(&self, registry: &mut Registry, process: &Process<'_>) {
        let build = vec![
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("store", process.store.to_owned()),
        ];
        registry.register(
            "build",
            "Version of the gateway and kind of its store",
            Info::new(build),
        );
        for (name, label, help, counters) in BY_LABEL {
            let row = |(value, counter): &(_, fn(&Metrics) -> &Counter)| {
                ([(*label, *value)], counter(self).clone())
            };
            registry.register(*name, *help, Labelled(counters.iter().map(row).collect()));
        }
        for (name, help, counter) in TOTALS {
            registry.register(*name, *help, counter(self).clone());
        }
        registry.register(
            "own_seconds",
            "Time that the gateway itself took for a provider call: without waiting for the provider and for the request's body",
            self.own_time.clone(),
        );
        if let Some(store_time) = process.store_time {
            registry.register(
                "store_seconds",
                "Round trip of a command to Redis, or duration of an operation of the embedded store",
                store_time.clone(),
            );
        }
        self.register_families(registry);
    }

    fn register_families(&self, registry: &mut Registry) {
        let families = &self.families;
        registry.register(
            "errors",
            "Errors that the gateway answered itself, by tenant, code and status; errors that a provider answered are not among them, \
             save its 429, which is answered as provider_rate_limited",
            families.errors.clone(),
        );
        registry.register(
            "provider_answers",
            "Calls of providers by tenant, endpoint and outcome: the class of the answer's status, or what failed",
            families.provider_answers.clone(),
        );
        registry.register(
            "provider_first_byte_seconds",
            "Time from sending a call to its provider, connecting included, to the head of its answer",
            families.first_byte.clone(),
        );
        registry.register(
            "failovers",
            "Attempts at an endpoint that failed before an answer had begun, so that another attempt followed",
            families.failovers.clone(),
        );
    }
}

/// Counters that a label tells apart: name, label, help, and the counter of each value.
type ByLabel = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, fn(&Metrics) -> &Counter)],
);

const BY_LABEL: &[ByLabel] = &[
    (
        "shed",
        "what",
        "Requests and connections refused by a limit: of connections, by address, of requests, by tenant, of body memory, \
         or because a worker was late (server.shed_after)",
        &[
            ("connections", |m| &m.shed_connections),
            ("address", |m| &m.shed_addresses),
            ("requests", |m| &m.shed_requests),
            ("tenant", |m| &m.shed_tenants),
            ("bodies", |m| &m.shed_bodies),
            ("late", |m| &m.shed_late),
        ],
    ),
    (
        "requests",
        "answered_by",
        "Requests for routes of the gateway itself, and calls of providers",
        &[
            ("gateway", |m| &m.requests_local),
            ("provider", |m| &m.requests_provider),
        ],
    ),
    (
        "admissions",
        "from",
        "Calls admitted, by what covered them: a lease of this gateway (no round trip), or the store",
        &[
            ("lease", |m| &m.admissions_leased),
            ("store", |m| &m.admissions_stored),
        ],
    ),
    (
        "answers",
        "status",
        "Responses, by class of status",
        &[
            ("2xx", |m| &m.answers[2]),
            ("3xx", |m| &m.answers[3]),
            ("4xx", |m| &m.answers[4]),
            ("5xx", |m| &m.answers[5]),
        ],
    ),
    (
        "cache_answers",
        "result",
        "Calls of tenants with a cache: answered from it (hit), asked of the provider (miss), or not concerned (bypass)",
        &[
            ("hit", |m| &m.cache_hits),
            ("miss", |m| &m.cache_misses),
            ("bypass", |m| &m.cache_bypasses),
        ],
    ),
    (
        "usage_doubted",
        "reason",
        "Usage reports of providers that were rejected as implausible: zero, below what was delivered, or absurdly high",
        &[
            ("nought", |m| &m.doubted_nought),
            ("below_delivered", |m| &m.doubted_below_delivered),
            ("absurd", |m| &m.doubted_absurd),
        ],
    ),
    (
        "charges_unreported",
        "basis",
        "Charges without a plausible usage report: by the gateway's own count, or by the whole hold",
        &[
            ("counted", |m| &m.charges_counted),
            ("held", |m| &m.charges_held),
        ],
    ),
];

/// Counters of one name by one label, in the order in which they are printed.
#[derive(Debug)]
struct Labelled(Vec<([(&'static str, &'static str); 1], Counter)>);

impl EncodeMetric for Labelled {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, counter) in &self.0 {
            counter.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// Counter without labels: name, help, value.
type Total = (&'static str, &'static str, fn(&Metrics) -> &Counter);

/// The library appends `_total` to the names.
const TOTALS: &[Total] = &[
    ("tokens_charged", "Tokens charged to balances", |m| {
        &m.tokens_charged
    }),
    (
        "tokens_overrun",
        "Tokens used that no balance covered, so that they were not charged: the overruns of accounts; should stay near 0",
        |m| &m.tokens_overrun,
    ),
    (
        "tokens_beyond_hold",
        "Tokens that calls cost beyond their hold, charged or not: an upper bound was too low; should stay near 0",
        |m| &m.tokens_beyond_hold,
    ),
    (
        "settlements_waiting",
        "Settlements and releases that the store did not take at once, so that they are retried",
        |m| &m.settlements_waiting,
    ),
    (
        "settlements_late",
        "Retried settlements and releases that succeeded; settlements_waiting_total less this is the backlog",
        |m| &m.settlements_delivered_late,
    ),
    ("app_events_delivered", "Events that apps have taken", |m| {
        &m.app_events_delivered
    }),
    (
        "app_events_dropped",
        "Events that no app has taken: too many waited, six tries failed, or the app answered 410",
        |m| &m.app_events_dropped,
    ),
    (
        "payment_events",
        "Events of Stripe that were taken, ignored ones included",
        |m| &m.payment_events,
    ),
    (
        "payment_events_failed",
        "Events of Stripe that were answered 503, because Stripe or the store could not be asked; Stripe sends them again",
        |m| &m.payment_events_failed,
    ),
    (
        "store_errors",
        "Admissions and settlements that the store failed",
        |m| &m.store_errors,
    ),
    (
        "cache_errors",
        "Reads and writes of cached answers that the store failed: the calls went to their providers",
        |m| &m.cache_errors,
    ),
    (
        "truncated_streams",
        "Streams that their provider ended before their last event, by a clean end or by a reset",
        |m| &m.truncated_streams,
    ),
    (
        "handshakes_failed",
        "Connections whose TLS or HTTP/2 handshake failed or took too long",
        |m| &m.failed_handshakes,
    ),
    (
        "connections_ended",
        "HTTP/2 connections that the gateway closed for malformed or abandoned requests",
        |m| &m.ended_connections,
    ),
    (
        "clients_gone",
        "Clients that disconnected before their response was complete",
        |m| &m.clients_gone,
    ),
    (
        "answers_drained",
        "Provider responses that were read to their end for their usage, after the client had disconnected",
        |m| &m.answers_drained,
    ),
    (
        "usage_records_dropped",
        "Usage records lost because the store failed or their buffer was full; balances are not affected",
        |m| &m.records_dropped,
    ),
    (
        "panics",
        "Requests that ended in a panic; each is a bug, and its place is in the log",
        |m| &m.panics,
    ),
];

/// Gauge: name, help, value.
type Level = (&'static str, &'static str, fn(&Gauges) -> usize);

const LEVELS: &[Level] = &[
    (
        "requests_in_flight",
        "Requests and settlements in progress (limit: server.max_requests)",
        |g| g.requests,
    ),
    (
        "connections",
        "Open client connections (limit: server.max_connections)",
        |g| g.connections,
    ),
    (
        "buffered_bytes",
        "Memory that long bodies take (limit: server.max_buffered)",
        |g| g.buffered,
    ),
    (
        "store_up",
        "1 while the store takes commands; at 0 new calls get 503",
        |g| usize::from(g.store_up),
    ),
    (
        "settlements_pending",
        "Settlements and releases that wait for the store now; they are retried until it takes them",
        |g| g.settlements,
    ),
    (
        "journal_open",
        "Requests in the journal that are in flight, or whose settlement the store does not have yet",
        |g| g.journal,
    ),
    (
        "leases",
        "Leases of this gateway: busy keys that are spent without asking the store",
        |g| g.leases,
    ),
    (
        "usage_records_pending",
        "Usage records that wait to be written",
        |g| g.records,
    ),
];

/// Gauges, registered anew for each scrape.
fn registry_of(levels: Gauges) -> Registry {
    let mut registry = Registry::with_prefix("resullm");
    for (name, help, level) in LEVELS {
        registry.register(*name, *help, ConstGauge::new(level(&levels) as u64));
    }
    let configs: Family<[(&str, &str); 1], Gauge> = Family::default();
    for (value, count) in [
        ("refused", levels.configs_refused),
        ("served_by_previous", levels.configs_previous),
    ] {
        let row = configs.get_or_create_owned(&[("calls", value)]);
        row.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register(
        "unusable_tenant_configs",
        "Tenants whose stored config cannot be used, of those that were asked for: the log names them and what is wrong. \
         Their calls are refused, or served by the config before it",
        configs,
    );
    registry.register(
        "endpoints_passed_over",
        "Models for which an endpoint is passed over now, because its calls failed or its provider asked for a rest: calls go to the next \
         endpoint, and one at a time probes this one",
        PassedOver(levels.passed_over),
    );
    registry
}

/// Gauge of the models that are passed over, by tenant and endpoint. It is printed also where there are none.
#[derive(Debug)]
struct PassedOver(BTreeMap<(String, String), u64>);

impl EncodeMetric for PassedOver {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for ((tenant, endpoint), models) in &self.0 {
            let labels = [("tenant", tenant.as_str()), ("endpoint", endpoint.as_str())];
            let row = ConstGauge::new(*models);
            row.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn metrics() -> Metrics {
        Metrics::new(&Process {
            store: "embedded",
            store_time: None,
        })
    }

    #[test]
    fn counters_and_histograms_are_rendered() {
        let metrics = metrics();
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
            "resullm_own_seconds_bucket{le=\"1e-05\"} 2",
            "resullm_own_seconds_bucket{le=\"2.5e-05\"} 3",
            "resullm_own_seconds_bucket{le=\"0.25\"} 3",
            "resullm_own_seconds_bucket{le=\"+Inf\"} 4",
            "resullm_own_seconds_sum 0.30003",
            "resullm_own_seconds_count 4",
            "# TYPE resullm_requests_in_flight gauge",
            "resullm_requests_in_flight 3",
            "resullm_store_up 1",
            "# TYPE resullm_answers_total counter",
            "resullm_answers_total{status=\"4xx\"} 1",
            "resullm_tokens_charged_total 7",
        ] {
            assert!(text.contains(&format!("{row}\n")), "{row}\n{text}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let metrics = metrics();
        let tenant = metrics.families.tenant("t");
        tenant.endpoint("a\"b\\c\nd", 0).count_answer("2xx");
        let row =
            r#"resullm_provider_answers_total{tenant="t",endpoint="a\"b\\c\nd",outcome="2xx"} 1"#;
        let text = metrics.render(Gauges::default());
        assert!(text.contains(&format!("{row}\n")), "{text}");
    }

    #[test]
    fn every_metric_has_a_row_in_the_operators_page() {
        let text = metrics().render(Gauges::default());
        let page = include_str!("../../docs/operations.md");
        let mut names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names = names.by_ref().filter_map(|line| line.split(' ').next());
        let missing: Vec<&str> = names
            .filter(|name| !page.contains(&format!("`{name}`")))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
