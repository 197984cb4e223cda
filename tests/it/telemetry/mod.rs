//! What an operator sees: metrics of a running gateway, its log lines, and the pages that name them.

mod log;
mod metrics;
mod rules;

use crate::harness::{Client, Gateway, Setup, eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// A setup whose gateway has a listener for metrics.
fn setup() -> Setup {
    Setup::new().env("RESULLM__SERVER__OPS_LISTEN", "127.0.0.1:0")
}

/// One scrape of a gateway's metrics.
struct Scrape(String);

impl Scrape {
    /// Sum of all series of a name that have these labels, each written as `name="value"`.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let rows = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        let found = rows.filter(|(series, _)| {
            let (known, given) = series.split_once('{').unwrap_or((series, ""));
            known == name && labels.iter().all(|label| given.contains(label))
        });
        found.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }
}

fn scrape(gateway: &Gateway) -> Scrape {
    let line = gateway.wait_log("Metrics on http://");
    let (_, address) = line.split_once("http://").unwrap();
    let (address, _) = address.split_once("/metrics").unwrap();
    let answer = Client::new(address.parse().unwrap()).get("/metrics");
    assert_eq!(answer.status, 200);
    Scrape(answer.text())
}

/// Waits until the sum of some series has this value: a request is counted just after its answer.
#[track_caller]
fn wait_sum(gateway: &Gateway, name: &str, labels: &[&str], value: f64) {
    eventually(SOON, &format!("{name} {labels:?} is {value}"), || {
        let sum = scrape(gateway).sum(name, labels);
        ((sum - value).abs() < 1e-9).then_some(())
    });
}
