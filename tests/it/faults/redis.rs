//! Redis killed, slow, restarted, failing over, or answering late.
//!
//! A test that must see a refusal uses a key at most once a second, because a busy key is leased and
//! served for a while without Redis. Leased keys have their own share in the final check of the books.

mod commands;
mod refusing;
mod unreachable;

use crate::harness::{
    CHAT_PATH, Client, Gate, Gateway, Provider, Script, Setup, Streaming, me, mint, sample, within,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub const GRANT: u64 = 100_000;
pub const COST: u64 = 7;
const OUT: &str = "[WARN] Redis cannot be used: ";
const BACK: &str = "[INFO] Redis can be used again, after ";

/// Maximum time until the gateway serves again after Redis does.
const RECOVERY: Duration = Duration::from_secs(2);

/// Tokens that the provider served, by the message of the call, which is the key.
#[derive(Clone, Default)]
pub struct Served(Arc<Mutex<HashMap<String, u64>>>);

impl Served {
    /// A provider that answers at once, but sends the second half of a stream only after the gate opens.
    pub fn provider(&self, gate: &Gate) -> Provider {
        let (served, gate) = (self.0.clone(), gate.clone());
        Provider::start(move |request| {
            let call = request.json();
            let word = call["messages"][0]["content"].as_str().unwrap().to_owned();
            *served.lock().unwrap().entry(word).or_default() += COST;
            if call["stream"] != true {
                return Script::chat("Hi", 3, 4);
            }
            let frame = |delta: &str| format!("data: {delta}\n\n");
            Script::new()
                .head(200, &[("content-type", "text/event-stream")])
                .bytes(frame(r#"{"choices":[{"index":0,"delta":{"content":"first"}}]}"#))
                .wait_for(&gate)
                .bytes(frame(
                    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                ))
                .bytes(frame(
                    r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#,
                ))
                .bytes(frame("[DONE]"))
        })
    }

    pub fn of(&self, key: &str) -> u64 {
        let served = self.0.lock().unwrap();
        served.get(key).copied().unwrap_or_default()
    }
}

/// A call whose message is its key, so that the provider can tell callers apart.
fn call(key: &str) -> Value {
    json!({"messages": [{"role": "user", "content": key}], "max_tokens": 4})
}

pub fn ask(client: Client, key: &str) -> (u16, Option<String>, Duration) {
    let begun = Instant::now();
    let request = client
        .request("POST", CHAT_PATH)
        .bearer(key)
        .json(&call(key));
    let answer = request.send();
    let retry_after = answer.header("retry-after").map(str::to_owned);
    (answer.status, retry_after, begun.elapsed())
}

/// A stream whose first half has arrived and whose second half waits for the gate.
#[track_caller]
pub fn half_a_stream(gateway: &Gateway, key: &str) -> Streaming<'static> {
    let mut call = call(key);
    call["stream"] = json!(true);
    let request = gateway.client().request("POST", CHAT_PATH);
    let mut stream = request.bearer(key).json(&call).send_streaming();
    stream.wait_for("first");
    stream
}

pub fn setup(url: &str, provider: &Provider) -> Setup {
    let config = sample(provider).tokens(GRANT).rate_limit(1_000_000_000, 60);
    Setup::new()
        .store(url)
        .tenant("abc", config)
        .yaml("accounts: { mints_per_address: 1000000, hold_ttl: 20s }")
        .env("RESULLM__SERVER__OPS_LISTEN", "127.0.0.1:0")
}

pub fn keys(gateway: &Gateway, count: usize) -> Vec<String> {
    (0..count).map(|_| mint(gateway, "abc")).collect()
}

pub fn ready(gateway: &Gateway) -> u16 {
    gateway.client().get("/readyz").status
}

fn healthy(gateway: &Gateway) -> u16 {
    gateway.client().get("/healthz").status
}

/// Value of one row of `/metrics`.
pub fn metric(gateway: &Gateway, row: &str) -> u64 {
    let line = gateway.wait_log("Metrics on http://");
    let (_, address) = line.split_once("http://").unwrap();
    let address = address.trim_end().trim_end_matches("/metrics");
    let metrics = Client::new(address.parse().unwrap()).get("/metrics").text();
    let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(name, _)| *name == row);
    found.unwrap().1.parse().unwrap()
}

/// Asserts for each key that no hold is left and that its charges equal what was served.
#[track_caller]
fn exact(gateway: &Gateway, served: &Served, keys: &[String]) -> u64 {
    let mut all = 0;
    for key in keys {
        let wanted = served.of(key);
        let exact = within(Duration::from_secs(20), || {
            let me = me(gateway, key);
            let field = |name: &str| me[name].as_u64().unwrap_or_default();
            let (left, free) = (field("tokensLeft"), field("tokensFree"));
            (left == free && GRANT - left == wanted).then_some(())
        });
        if exact.is_none() {
            let me = gateway.client().request("GET", "/abc/auth/me").bearer(key);
            panic!("served {wanted} of {GRANT}: {}", me.send().text());
        }
        all += wanted;
    }
    all
}

/// Calls with one key after the other in a loop, slowly enough that none is leased.
struct Prober {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Vec<Probe>>>,
}

#[derive(Clone, Debug)]
struct Probe {
    sent: Instant,
    took: Duration,
    status: u16,
    retry_after: Option<String>,
}

impl Prober {
    fn start(gateway: &Gateway, keys: &[String], threads: usize) -> Prober {
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicUsize::new(0));
        let threads = (0..threads).map(|_| {
            let (client, keys, stop, next) =
                (gateway.client(), keys.to_vec(), stop.clone(), next.clone());
            thread::spawn(move || {
                let mut probes = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let key = &keys[next.fetch_add(1, Ordering::SeqCst) % keys.len()];
                    let sent = Instant::now();
                    let (status, retry_after, took) = ask(client, key);
                    probes.push(Probe {
                        sent,
                        took,
                        status,
                        retry_after,
                    });
                    thread::sleep(Duration::from_millis(10));
                }
                probes
            })
        });
        let threads = threads.collect();
        Prober { stop, threads }
    }

    #[track_caller]
    fn end(self) -> Vec<Probe> {
        self.stop.store(true, Ordering::SeqCst);
        let threads = self.threads.into_iter();
        let mut all: Vec<Probe> = threads.flat_map(|thread| thread.join().unwrap()).collect();
        all.sort_by_key(|probe| probe.sent);
        for probe in &all {
            let good = match probe.status {
                200 => true,
                503 => probe.retry_after.as_deref() == Some("1"),
                _ => false,
            };
            assert!(good, "{probe:?}");
        }
        all
    }
}

fn slowest<'a>(probes: impl IntoIterator<Item = &'a Probe>) -> Duration {
    let took = probes.into_iter().map(|probe| probe.took);
    took.max().unwrap_or_default()
}

/// Time from `since` to the last refusal.
fn last_refusal(probes: &[Probe], since: Instant) -> Duration {
    let refused = probes.iter().filter(|probe| probe.status == 503);
    let last = refused.map(|probe| probe.sent + probe.took).max();
    last.map_or(Duration::ZERO, |last| last.saturating_duration_since(since))
}

#[track_caller]
fn one_story(gateway: &Gateway) {
    gateway.wait_log(BACK);
    let (out, back) = (gateway.count_logs(OUT), gateway.count_logs(BACK));
    assert_eq!((out, back), (1, 1), "{:#?}", gateway.logs());
}
