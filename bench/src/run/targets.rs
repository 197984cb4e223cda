//! Performance targets of ResuLLM, and the verdict for a run.

use super::measure::Sample;
use super::results::{Figures, Results};
use super::scenario::{MOST_SILENT, MOST_SILENT_HTTP2};

pub struct Verdict {
    pub target: String,
    pub contender: String,
    pub found: String,
    /// `None`: not measured in this run.
    pub reached: Option<bool>,
}

/// Maximum CPU time per request relative to nginx, by scenario. The gateway was measured at 2.0 on one machine and
/// at 2.5 on another, on which bare Pingora needs 2.6 instead of 2.0. TLS and the frames of HTTP/2 cost both sides
/// about the same, so the bound of HTTP/1.1 holds for them too.
const CPU_TO_NGINX: [(&str, f64); 10] = [
    ("plain-16", 2.2),
    ("plain-64", 2.2),
    ("stream-16", 1.6),
    ("stream-64", 1.6),
    ("tls-plain", 2.2),
    ("tls-stream", 1.6),
    ("h2-plain", 2.2),
    ("h2-stream", 1.6),
    ("h2-tls-plain", 2.2),
    ("h2-tls-stream", 1.6),
];
/// Maximum time added before the first event, relative to nginx.
const FIRST_EVENT_TO_NGINX: f64 = 1.5;
/// Maximum memory per idle stream in KiB.
const KB_PER_STREAM: f64 = 48.0;
/// Maximum p50 of calls beside a dead endpoint, relative to those of a single live one.
const BESIDE_DEAD: f64 = 1.1;
/// Minimum throughput with 100,000 keys, relative to 100 keys.
const MANY_KEYS: f64 = 0.9;

/// Returns a verdict on every target for each ResuLLM contender.
pub fn judge(results: &Results) -> Vec<Verdict> {
    results.ours().flat_map(|ours| of(results, ours)).collect()
}

fn of(results: &Results, ours: &str) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut add = |target: String, found: Option<(String, bool)>| {
        let (found, reached) = match found {
            Some((found, reached)) => (found, Some(reached)),
            None => ("not measured".to_owned(), None),
        };
        verdicts.push(Verdict {
            target,
            contender: ours.to_owned(),
            found,
            reached,
        });
    };
    for (scenario, most) in CPU_TO_NGINX {
        let ratio = results.figures(ours, scenario).cpu_to_nginx;
        add(
            format!("CPU at most {most} times nginx's, {scenario}"),
            ratio.map(|ratio| (format!("{ratio:.2} times"), ratio <= most)),
        );
    }
    for scenario in ["plain-16", "plain-64", "stream-16", "stream-64"] {
        let beside = results.compared((ours, scenario), ("pingora", scenario), |ours, theirs| {
            Some(ours.cpu? / theirs.cpu?)
        });
        add(
            format!("less CPU than pingora, {scenario}"),
            beside.map(|ratio| (format!("{ratio:.2} times"), ratio < 1.0)),
        );
    }
    for other in ["pingora", "envoy"] {
        for scenario in ["plain-16", "plain-64"] {
            let ratio = results.compared((ours, scenario), (other, scenario), |ours, theirs| {
                Some(ours.load.requests_per_second / theirs.load.requests_per_second)
            });
            add(
                format!("more requests a second than {other}, {scenario}"),
                ratio.map(|ratio| (format!("{ratio:.2} times"), ratio > 1.0)),
            );
        }
    }
    for (kept, forwarded) in [("kept-plain", "plain-16"), ("kept-stream", "stream-16")] {
        let ratio = results.compared((ours, kept), (ours, forwarded), |hit, call| {
            let whole = |sample: &Sample| Some(sample.cpu? + sample.redis_cpu.unwrap_or(0.0));
            Some(whole(hit)? / whole(call)?)
        });
        add(
            format!("a hit costs less CPU than a forwarded call, {kept}"),
            ratio.map(|ratio| (format!("{ratio:.2} times"), ratio < 1.0)),
        );
    }
    let beside = results.compared((ours, "beside-dead"), (ours, "keys-100"), |two, one| {
        Some(two.load.p50 / one.load.p50)
    });
    add(
        format!("p50 beside a dead endpoint at most {BESIDE_DEAD} times that of one endpoint"),
        beside.map(|ratio| (format!("{ratio:.2} times"), ratio <= BESIDE_DEAD)),
    );
    let both = |other: &str, scenario: &str, figure: fn(Figures) -> Option<f64>| {
        let mine = figure(results.figures(ours, scenario))?;
        Some((mine, figure(results.figures(other, scenario))?))
    };
    add(
        "p50 added at 1 connection at most pingora's".to_owned(),
        both("pingora", "plain-1", |figures| figures.p50_added)
            .map(|(mine, other)| (format!("{mine:.0} against {other:.0} us"), mine <= other)),
    );
    add(
        format!("first chunk added at most {FIRST_EVENT_TO_NGINX} times nginx's, stream-1"),
        both("nginx", "stream-1", |figures| figures.first_event_added).map(|(mine, other)| {
            let reached = mine <= FIRST_EVENT_TO_NGINX * other;
            (format!("{mine:.0} against {other:.0} us"), reached)
        }),
    );
    for silent in [MOST_SILENT, MOST_SILENT_HTTP2] {
        let kb = results.kb_per_stream(ours, silent);
        add(
            format!("at most {KB_PER_STREAM} KB a stream, {}", silent.title()),
            kb.map(|kb| (format!("{kb:.1} KB"), kb <= KB_PER_STREAM)),
        );
    }
    let many = results.compared((ours, "keys-100k"), (ours, "keys-100"), |many, few| {
        Some(many.load.requests_per_second / few.load.requests_per_second)
    });
    add(
        "100,000 keys, each used in turn, at least 0.9 times as fast as 100".to_owned(),
        many.map(|ratio| (format!("{ratio:.2} times"), ratio >= MANY_KEYS)),
    );
    let (exact, looked) = results.exact(ours);
    add(
        "books exact".to_owned(),
        (looked > 0).then(|| (format!("{exact} of {looked} times"), exact == looked)),
    );
    verdicts
}
