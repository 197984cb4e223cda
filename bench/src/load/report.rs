//! Results of a load run: [`Tally`] while it runs, [`Report`] at its end.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// Counts and latency histograms of one thread or caller.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    requests: u64,
    errors: u64,
    first_error: Option<String>,
    pub reconnects: u64,
    latency: Histogram,
    first_event: Histogram,
    streams: u64,
    pub last: Option<Instant>,
}

/// Figures of a run: `requests` counts valid responses only; latencies are in microseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub requests: u64,
    pub errors: u64,
    #[serde(default)]
    pub first_error: Option<String>,
    pub reconnects: u64,
    pub seconds: f64,
    pub requests_per_second: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: f64,
    /// Time to the first event; streams only.
    #[serde(default)]
    pub first_event_p50: Option<f64>,
    #[serde(default)]
    pub first_event_p99: Option<f64>,
}

impl Tally {
    pub fn answer(&mut self, begun: Instant, first_event: Option<Instant>, ended: Instant) {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.requests += 1;
        self.latency.record(nanos(ended - begun));
        if let Some(first) = first_event {
            self.streams += 1;
            self.first_event.record(nanos(first - begun));
        }
        self.last = Some(ended);
    }

    pub fn error(&mut self, text: String) {
        self.errors += 1;
        self.first_error.get_or_insert(text);
    }

    pub fn merge(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
        self.reconnects += other.reconnects;
        self.latency.merge(&other.latency);
        self.first_event.merge(&other.first_event);
        self.streams += other.streams;
        self.last = self.last.max(other.last);
    }

    pub fn report(&self, took: Duration) -> Report {
        let seconds = took.as_secs_f64();
        let micros = |nanos: u64| nanos as f64 / 1_000.0;
        let first = |share| (self.streams > 0).then(|| micros(self.first_event.quantile(share)));
        Report {
            requests: self.requests,
            errors: self.errors,
            first_error: self.first_error.clone(),
            reconnects: self.reconnects,
            seconds,
            requests_per_second: self.requests as f64 / seconds.max(1e-9),
            p50: micros(self.latency.quantile(0.5)),
            p90: micros(self.latency.quantile(0.9)),
            p99: micros(self.latency.quantile(0.99)),
            max: micros(self.latency.max()),
            first_event_p50: first(0.5),
            first_event_p99: first(0.99),
        }
    }
}

impl Report {
    pub fn print(&self) {
        println!(
            "{} requests in {:.2} s: {:.0}/s, {} errors, {} reconnects",
            self.requests, self.seconds, self.requests_per_second, self.errors, self.reconnects
        );
        println!(
            "latency in us: p50 {:.0}, p90 {:.0}, p99 {:.0}, max {:.0}",
            self.p50, self.p90, self.p99, self.max
        );
        if let (Some(p50), Some(p99)) = (self.first_event_p50, self.first_event_p99) {
            println!("first event in us: p50 {p50:.0}, p99 {p99:.0}");
        }
        if let Some(error) = &self.first_error {
            println!("first error: {error}");
        }
    }
}
