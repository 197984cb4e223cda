//! Counters for Prometheus. Plain atomics: counting must never be what a request waits for.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct Metrics {
    pub requests_local: Counter,
    pub requests_provider: Counter,
    /// Answers by the first digit of their status.
    pub answers: [Counter; 6],
    pub tokens_charged: Counter,
    pub tokens_overrun: Counter,
    pub settlements_waiting: Counter,
    pub settlements_delivered_late: Counter,
    pub store_errors: Counter,
    pub truncated_streams: Counter,
    pub clients_gone: Counter,
    pub panics: Counter,
    pub records_dropped: Counter,
}

impl Metrics {
    pub fn answered(&self, status: u16) {
        if let Some(counter) = self.answers.get(usize::from(status / 100)) {
            counter.add(1);
        }
    }

    /// In the Prometheus text format.
    pub fn render(&self, in_flight: usize) -> String {
        let mut text = String::new();
        let mut family = |name: &str, help: &str, kind: &str, rows: &[(&str, u64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "# HELP resullm_{name} {help}\n# TYPE resullm_{name} {kind}"
            );
            for (labels, value) in rows {
                let _ = writeln!(text, "resullm_{name}{labels} {value}");
            }
        };
        family(
            "build_info",
            "Version of the gateway",
            "gauge",
            &[(concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1)],
        );
        family(
            "requests_in_flight",
            "Requests being served",
            "gauge",
            &[("", in_flight as u64)],
        );
        family(
            "requests_total",
            "Requests by who answers them",
            "counter",
            &[
                ("{answered_by=\"gateway\"}", self.requests_local.value()),
                ("{answered_by=\"provider\"}", self.requests_provider.value()),
            ],
        );
        family(
            "answers_total",
            "Answers by class of status",
            "counter",
            &[
                ("{status=\"2xx\"}", self.answers[2].value()),
                ("{status=\"3xx\"}", self.answers[3].value()),
                ("{status=\"4xx\"}", self.answers[4].value()),
                ("{status=\"5xx\"}", self.answers[5].value()),
            ],
        );
        for (name, help, counter) in [
            (
                "tokens_charged_total",
                "Tokens charged to balances",
                &self.tokens_charged,
            ),
            (
                "tokens_overrun_total",
                "Tokens used beyond a balance",
                &self.tokens_overrun,
            ),
            (
                "settlements_waiting_total",
                "Settlements that had to wait for the store",
                &self.settlements_waiting,
            ),
            (
                "settlements_late_total",
                "Waiting settlements delivered",
                &self.settlements_delivered_late,
            ),
            (
                "store_errors_total",
                "Commands that the store failed",
                &self.store_errors,
            ),
            (
                "truncated_streams_total",
                "Provider streams that ended before their end",
                &self.truncated_streams,
            ),
            (
                "clients_gone_total",
                "Clients that left before their answer ended",
                &self.clients_gone,
            ),
            (
                "usage_records_dropped_total",
                "Usage records that could not be kept",
                &self.records_dropped,
            ),
            (
                "panics_total",
                "Requests that ended in a panic",
                &self.panics,
            ),
        ] {
            family(name, help, "counter", &[("", counter.value())]);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::default();
        metrics.answered(404);
        metrics.tokens_charged.add(7);
        let text = metrics.render(3);
        assert!(text.contains("resullm_answers_total{status=\"4xx\"} 1\n"));
        assert!(text.contains("resullm_tokens_charged_total 7\n"));
        assert!(text.contains("resullm_requests_in_flight 3\n"));
        assert!(text.contains("# TYPE resullm_requests_in_flight gauge\n"));
    }
}
