//! Redis lost, slow, restarted, failing over, replying late.
//!
//! A key is used once a second at most where a refusal must be seen: one that is used often has a purse and is
//! served from it for a while, which is as it should be, and has its own part in the books at the end.

use super::{case, many};
use crate::harness::redis::wait_info;
use crate::harness::{
    Chaos, Client, Cluster, Gate, Gateway, Provider, Redis, RedisTls, Script, Sentinel, Setup,
    Streaming, eventually, mint, sample, within,
};
use crate::store_contract::{keeping, open, runtime};
use resullm::rules::account::Orphans;
use resullm::rules::tenant::TenantId;
use resullm::store::{Clock, StoreError};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PATH: &str = "/abc/v1/chat/completions";
pub const GRANT: u64 = 100_000;
pub const COST: u64 = 7;
const OUT: &str = "[WARN] Redis cannot be used: ";
const BACK: &str = "[INFO] Redis can be used again, after ";
/// How soon the gateway serves again once its server does.
const RECOVERY: Duration = Duration::from_secs(2);

/// What a provider has served, by the words of the calls' messages.
#[derive(Clone, Default)]
pub struct Served(Arc<Mutex<HashMap<String, u64>>>);

impl Served {
    /// It answers at once, and a stream only to its half until the gate opens.
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

/// Each key is its own message, so that the provider can tell them apart.
fn call(key: &str) -> Value {
    json!({"messages": [{"role": "user", "content": key}], "max_tokens": 4})
}

pub fn ask(client: Client, key: &str) -> (u16, Option<String>, Duration) {
    let begun = Instant::now();
    let request = client.request("POST", PATH).bearer(key).json(&call(key));
    let answer = request.send();
    let retry_after = answer.header("retry-after").map(str::to_owned);
    (answer.status, retry_after, begun.elapsed())
}

/// Its first half has come, its second waits for the provider's gate.
#[track_caller]
pub fn half_a_stream(gateway: &Gateway, key: &str) -> Streaming<'static> {
    let mut call = call(key);
    call["stream"] = json!(true);
    let request = gateway.client().request("POST", PATH);
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

/// One row of the metrics.
pub fn metric(gateway: &Gateway, row: &str) -> u64 {
    let line = gateway.wait_log("Metrics on http://");
    let (_, address) = line.split_once("http://").unwrap();
    let address = address.trim_end().trim_end_matches("/metrics");
    let metrics = Client::new(address.parse().unwrap()).get("/metrics").text();
    let mut lines = metrics.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(name, _)| *name == row);
    found.unwrap().1.parse().unwrap()
}

/// Nothing is held, and what is gone was served: of each key.
#[track_caller]
fn exact(gateway: &Gateway, served: &Served, keys: &[String]) -> u64 {
    let mut all = 0;
    for key in keys {
        let wanted = served.of(key);
        let exact = within(Duration::from_secs(20), || {
            let me = gateway
                .client()
                .request("GET", "/abc/auth/me")
                .bearer(key)
                .send()
                .json();
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

/// One key after the other, again and again, slowly enough that none of them is lent a purse.
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

/// How long after a moment the last refusal came.
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

#[test]
fn redis_is_killed_under_load() {
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&redis.url(), &provider));
    case("redis: kill -9 under load, restart", || {
        let keys = keys(&gateway, many(600, 3_000));
        let prober = Prober::start(&gateway, &keys[10..], 3);
        let streams: Vec<_> = keys[..10]
            .iter()
            .map(|key| half_a_stream(&gateway, key))
            .collect();
        assert_eq!(
            (ready(&gateway), metric(&gateway, "resullm_store_up")),
            (200, 1)
        );
        let killed = Instant::now();
        redis.kill();
        gateway.wait_log(OUT);
        let refused = ask(gateway.client(), &keys[0]);
        assert_eq!((refused.0, refused.1.as_deref()), (503, Some("1")));
        assert_eq!((ready(&gateway), healthy(&gateway)), (503, 200));
        assert_eq!(metric(&gateway, "resullm_store_up"), 0);
        gate.open();
        for stream in streams {
            let text = stream.into_response().unwrap().text();
            assert!(text.contains("[DONE]"), "{text}");
        }
        thread::sleep(many(Duration::from_millis(500), Duration::from_secs(5)));
        redis.restart();
        let back = Instant::now();
        gateway.wait_log(BACK);
        eventually(RECOVERY, "it is ready", || {
            (ready(&gateway) == 200).then_some(())
        });
        thread::sleep(Duration::from_millis(500));
        let probes = prober.end();
        let refusals: Vec<&Probe> = probes.iter().filter(|probe| probe.status == 503).collect();
        let (slowest, late) = (
            slowest(refusals.iter().copied()),
            last_refusal(&probes, back),
        );
        assert!(refusals.len() > 20, "{} refusals", refusals.len());
        assert!(
            slowest < Duration::from_millis(500),
            "refused after {slowest:?}"
        );
        assert!(late < RECOVERY, "refused {late:?} after it was back");
        assert!(probes.last().unwrap().status == 200 && probes[0].sent < killed);
        one_story(&gateway);
        let charged = exact(&gateway, &served, &keys);
        format!(
            "{} refusals, slowest {slowest:.1?}; the last {late:.1?} after Redis was back; {charged} tokens exact",
            refusals.len()
        )
    });
}

#[test]
fn redis_is_slow() {
    let redis = Redis::start();
    let chaos = Chaos::before(redis.port());
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&chaos.url(), &provider));
    let keys = keys(&gateway, many(600, 3_000));
    case("redis: 200 ms further away", || {
        chaos.delay(Duration::from_millis(100));
        let prober = Prober::start(&gateway, &keys, 8);
        thread::sleep(many(Duration::from_secs(2), Duration::from_secs(20)));
        let probes = prober.end();
        let slowest = slowest(&probes);
        assert!(probes.iter().all(|probe| probe.status == 200));
        assert!(slowest < Duration::from_millis(1_500), "{slowest:?}");
        assert_eq!(gateway.count_logs(OUT), 0);
        format!("{} calls served, slowest {slowest:.0?}", probes.len())
    });
    case("redis: 800 ms further away, and near again", || {
        chaos.delay(Duration::from_millis(400));
        let prober = Prober::start(&gateway, &keys, 8);
        let begun = Instant::now();
        gateway.wait_log(OUT);
        let opened = begun.elapsed();
        assert_eq!((ready(&gateway), healthy(&gateway)), (503, 200));
        thread::sleep(many(Duration::from_secs(1), Duration::from_secs(10)));
        let quiet = Instant::now();
        thread::sleep(Duration::from_millis(500));
        chaos.delay(Duration::ZERO);
        let near = Instant::now();
        gateway.wait_log(BACK);
        thread::sleep(Duration::from_millis(500));
        let probes = prober.end();
        let late = last_refusal(&probes, near);
        let while_out = probes
            .iter()
            .filter(|probe| probe.sent > quiet && probe.sent < near);
        let (all, out) = (slowest(&probes), slowest(while_out));
        assert!(opened < Duration::from_secs(6), "noticed after {opened:?}");
        assert!(all < Duration::from_secs(4), "an answer took {all:?}");
        assert!(out < Duration::from_millis(300), "a refusal took {out:?}");
        assert!(late < RECOVERY, "refused {late:?} after it was near");
        one_story(&gateway);
        let charged = exact(&gateway, &served, &keys);
        format!(
            "let go after {opened:.1?}, slowest answer {all:.1?}, refusals then {out:.0?}, served {late:.1?} after; {charged} tokens exact"
        )
    });
}

#[track_caller]
fn stalls(name: &str, stall: impl Fn(&Redis, &Chaos, bool)) {
    let redis = Redis::start();
    let chaos = Chaos::before(redis.port());
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&chaos.url(), &provider));
    case(name, || {
        let keys = keys(&gateway, many(600, 3_000));
        let prober = Prober::start(&gateway, &keys, 8);
        thread::sleep(Duration::from_millis(300));
        stall(&redis, &chaos, true);
        let begun = Instant::now();
        gateway.wait_log(OUT);
        let opened = begun.elapsed();
        // The commands that were under way have their time-out yet.
        thread::sleep(Duration::from_secs(1));
        let quiet = Instant::now();
        assert_eq!((ready(&gateway), healthy(&gateway)), (503, 200));
        thread::sleep(many(Duration::from_secs(1), Duration::from_secs(10)));
        let in_flight = metric(&gateway, "resullm_requests_in_flight");
        stall(&redis, &chaos, false);
        let over = Instant::now();
        gateway.wait_log(BACK);
        thread::sleep(Duration::from_millis(500));
        let probes = prober.end();
        let late = last_refusal(&probes, over);
        let while_out = probes
            .iter()
            .filter(|probe| probe.sent > quiet && probe.sent < over);
        let (all, out) = (slowest(&probes), slowest(while_out));
        assert!(opened < Duration::from_secs(3), "noticed after {opened:?}");
        assert!(all < Duration::from_millis(3_500), "an answer took {all:?}");
        assert!(out < Duration::from_millis(300), "a refusal took {out:?}");
        assert!(late < RECOVERY, "refused {late:?} after it was over");
        assert!(in_flight <= 9, "{in_flight} requests wait");
        one_story(&gateway);
        let charged = exact(&gateway, &served, &keys);
        format!(
            "let go after {opened:.1?}, slowest answer {all:.1?}, refusals then {out:.0?}, {in_flight} in flight, served {late:.1?} after; {charged} tokens exact"
        )
    });
}

#[test]
fn redis_is_stopped() {
    stalls("redis: SIGSTOP for some seconds", |redis, _, stop| {
        if stop { redis.pause() } else { redis.resume() }
    });
}

#[test]
fn the_network_to_redis_is_silent() {
    stalls(
        "redis: nothing passes for some seconds",
        |_, chaos, stop| {
            chaos.silence(stop);
        },
    );
}

#[test]
fn redis_is_not_heard() {
    stalls("redis: commands pass, answers do not", |_, chaos, stop| {
        chaos.deafen(stop);
    });
}

#[test]
fn answers_of_redis_are_lost_where_purses_are_used() {
    answers_are_lost("redis: one answer in ten is cut off, keys with purses", 40);
}

#[test]
fn answers_of_redis_are_lost_where_each_call_asks_the_store() {
    let name = "redis: one answer in ten is cut off, keys without purses";
    answers_are_lost(name, many(400, 4_000));
}

#[track_caller]
fn answers_are_lost(name: &str, count: usize) {
    let redis = Redis::start();
    let chaos = Chaos::before(redis.port());
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&chaos.url(), &provider));
    case(name, || {
        let keys = keys(&gateway, count);
        chaos.cut_one_in(10);
        let wanted = many(500, 100_000);
        let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let workers: Vec<_> = (0..4)
            .map(|at| {
                let (client, keys) = (gateway.client(), keys.clone());
                let (answered, refused) = (answered.clone(), refused.clone());
                thread::spawn(move || {
                    let mut connection = client.connect();
                    let deadline =
                        Instant::now() + many(Duration::from_secs(60), Duration::from_secs(1_800));
                    for round in at.. {
                        if answered.load(Ordering::SeqCst) >= wanted {
                            return;
                        }
                        assert!(Instant::now() < deadline, "too few are answered");
                        let key = &keys[round % keys.len()];
                        let request = connection.request("POST", PATH).bearer(key);
                        match request.json(&call(key)).send().status {
                            200 => answered.fetch_add(1, Ordering::SeqCst),
                            503 => refused.fetch_add(1, Ordering::SeqCst),
                            other => panic!("{other}"),
                        };
                        thread::sleep(Duration::from_millis(1));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let cuts = chaos.cuts();
        chaos.cut_one_in(0);
        let charged = exact(&gateway, &served, &keys);
        assert!(cuts > many(10, 500), "{cuts} answers were cut off");
        assert_eq!(charged, answered.load(Ordering::SeqCst) * COST);
        format!(
            "{cuts} cuts, {} answered, {} refused; {charged} tokens charged and served, nothing held",
            answered.load(Ordering::SeqCst),
            refused.load(Ordering::SeqCst)
        )
    });
}

#[test]
fn commands_do_not_queue_without_end() {
    const MOST: usize = 4_096;
    let redis = Redis::start();
    let chaos = Chaos::before(redis.port());
    case("redis: more commands at once than may wait", || {
        let (refused, slowest, unknown) = runtime().block_on(async {
            let store = open(&chaos.url(), keeping(Orphans::Known, Clock::Store)).await;
            chaos.silence(true);
            let tasks: Vec<_> = (0..2 * MOST)
                .map(|_| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        let begun = Instant::now();
                        let tenant = TenantId::parse("abc").unwrap();
                        (store.config(&tenant).await, begun.elapsed())
                    })
                })
                .collect();
            let (mut refused, mut slowest, mut unknown) = (0, Duration::ZERO, 0);
            for task in tasks {
                match task.await.unwrap() {
                    (Err(StoreError::Unavailable(_)), took) => {
                        refused += 1;
                        slowest = slowest.max(took);
                    }
                    (Err(StoreError::Unknown(_)), took) => {
                        assert!(took < Duration::from_secs(3), "{took:?}");
                        unknown += 1;
                    }
                    (other, _) => panic!("{other:?}"),
                }
            }
            (refused, slowest, unknown)
        });
        // The keeper's own commands are among them.
        assert!((MOST - 10..=MOST).contains(&unknown), "{unknown} waited");
        assert!(
            slowest < Duration::from_millis(200),
            "refused after {slowest:?}"
        );
        format!("{unknown} waited, {refused} refused within {slowest:.1?}")
    });
}

#[track_caller]
fn refuses(name: &str, begin: &[&str], end: &[&str], code: &str) {
    let redis = Redis::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&redis.url(), &provider));
    case(name, || {
        let keys = keys(&gateway, many(600, 3_000));
        let prober = Prober::start(&gateway, &keys[1..], 3);
        let stream = half_a_stream(&gateway, &keys[0]);
        redis.cli(begin);
        let begun = Instant::now();
        let line = gateway.wait_log(OUT);
        assert!(line.contains(code), "{line}");
        let noticed = begun.elapsed();
        assert_eq!((ready(&gateway), healthy(&gateway)), (503, 200));
        // It ends meanwhile, and its settlement waits.
        gate.open();
        assert!(
            stream
                .into_response()
                .unwrap()
                .text()
                .ends_with("[DONE]\n\n")
        );
        thread::sleep(many(Duration::from_millis(700), Duration::from_secs(10)));
        redis.cli(end);
        let over = Instant::now();
        gateway.wait_log(BACK);
        thread::sleep(Duration::from_millis(500));
        let probes = prober.end();
        let refused = probes.iter().filter(|probe| probe.status == 503);
        let (count, slowest) = (refused.clone().count(), slowest(refused));
        let late = last_refusal(&probes, over);
        assert!(count > 20, "{count} refusals");
        assert!(
            slowest < Duration::from_millis(500),
            "refused after {slowest:?}"
        );
        assert!(late < RECOVERY, "refused {late:?} after it was over");
        one_story(&gateway);
        let charged = exact(&gateway, &served, &keys);
        format!(
            "let go after {noticed:.1?}, {count} refusals, slowest {slowest:.1?}, served {late:.1?} after; {charged} tokens exact"
        )
    });
}

#[test]
fn redis_is_read_only() {
    refuses(
        "redis: read-only (REPLICAOF)",
        &["REPLICAOF", "127.0.0.1", "1"],
        &["REPLICAOF", "NO", "ONE"],
        "READONLY",
    );
}

#[test]
fn redis_lacks_replicas() {
    refuses(
        "redis: read-only (min-replicas-to-write)",
        &["CONFIG", "SET", "min-replicas-to-write", "1"],
        &["CONFIG", "SET", "min-replicas-to-write", "0"],
        "NOREPLICAS",
    );
}

#[test]
fn redis_is_out_of_memory() {
    refuses(
        "redis: out of memory (noeviction)",
        &["CONFIG", "SET", "maxmemory", "1"],
        &["CONFIG", "SET", "maxmemory", "0"],
        "OOM",
    );
}

#[test]
fn a_server_that_takes_no_writes_is_noticed_without_calls() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let gateway = Gateway::start(setup(&redis.url(), &provider));
    case("redis: out of memory, and nobody calls", || {
        redis.cli(&["CONFIG", "SET", "maxmemory", "1"]);
        let begun = Instant::now();
        eventually(Duration::from_secs(5), "it is not ready", || {
            (ready(&gateway) == 503).then_some(())
        });
        let noticed = begun.elapsed();
        redis.cli(&["CONFIG", "SET", "maxmemory", "0"]);
        let over = Instant::now();
        eventually(RECOVERY, "it is ready", || {
            (ready(&gateway) == 200).then_some(())
        });
        let back = over.elapsed();
        one_story(&gateway);
        format!("not ready after {noticed:.1?}, ready {back:.1?} after it was over")
    });
}

#[test]
fn redis_comes_back_empty() {
    let redis = Redis::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let setup = setup(&redis.url(), &provider);
    let gateway = Gateway::start(setup.clone());
    case("redis: restarted empty", || {
        let keys = keys(&gateway, 4);
        let [rare, often, streaming, late] = &keys[..] else {
            unreachable!("four keys")
        };
        eventually(Duration::from_secs(10), "a purse is used", || {
            ask(gateway.client(), often);
            let row = "resullm_admissions_total{from=\"lease\"}";
            (metric(&gateway, row) > 10).then_some(())
        });
        let streams = [streaming, late].map(|key| half_a_stream(&gateway, key));
        redis.kill();
        gateway.wait_log(OUT);
        // Their settlements wait, and meet an empty server.
        gate.open();
        for stream in streams {
            assert!(stream.into_response().unwrap().text().contains("[DONE]"));
        }
        redis.restart();
        gateway.wait_log(BACK);
        let back = Instant::now();
        // The tenant's config went with the rest; the next start writes it again, or someone else.
        eventually(RECOVERY, "the tenant is unknown", || {
            let gone = ask(gateway.client(), rare).0;
            assert_ne!(gone, 200);
            (gone == 400).then_some(())
        });
        let second = Gateway::start(setup.clone());
        eventually(RECOVERY, "the tenant is known", || {
            (ask(gateway.client(), rare).0 == 401).then_some(())
        });
        for key in &keys {
            eventually(Duration::from_secs(4), "keys are unknown", || {
                (ask(gateway.client(), key).0 == 401).then_some(())
            });
        }
        let gone = back.elapsed();
        eventually(Duration::from_secs(10), "no settlement waits", || {
            let waiting = metric(&gateway, "resullm_settlements_waiting_total");
            let done = metric(&gateway, "resullm_settlements_late_total");
            (waiting == done && waiting >= 2).then_some(())
        });
        for key in &keys {
            let names = [format!("apiKey:{key}"), format!("{{apiKey:{key}}}:books")];
            for name in &names {
                assert_eq!(redis.cli(&["EXISTS", name]).int(), 0, "{name}");
            }
            assert!(served.of(key) <= GRANT);
        }
        let before = served.of(rare);
        assert_eq!(before, 0);
        let new = mint(&gateway, "abc");
        assert_eq!(ask(gateway.client(), &new).0, 200);
        assert_eq!(ask(second.client(), &new).0, 200);
        exact(&gateway, &served, std::slice::from_ref(&new));
        format!(
            "old keys unknown {gone:.1?} after; nothing resurrected, no settlement left waiting"
        )
    });
}

#[test]
fn sentinels_promote_a_replica_under_load() {
    let sentinel = Sentinel::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    let gateway = Gateway::start(setup(&sentinel.url(), &provider));
    case("redis: Sentinel failover under load", || {
        const CREDIT: u64 = 1_000;
        let rounds = many(1, 50);
        let keys = keys(&gateway, many(400, 1_000));
        let mut slowest_back = Duration::ZERO;
        let mut refused = 0;
        for round in 0..rounds {
            let path = format!("/abc/admin/keys/{}/credit", keys[0]);
            let request = gateway.client().request("POST", &path);
            let credit = json!({"tokens": CREDIT, "id": format!("order-{round}")});
            let token = gateway.admin_token().to_owned();
            assert_eq!(request.bearer(&token).json(&credit).send().status, 200);
            let same = || {
                let name = format!("apiKey:{}", keys[0]);
                let record = |redis: &Redis| redis.cli(&["GET", &name]).text();
                let size = |redis: &Redis| redis.cli(&["DBSIZE"]).int();
                let (primary, other) = (sentinel.primary(), sentinel.other());
                (record(primary) == record(other) && size(other) > keys.len() as i64).then_some(())
            };
            eventually(Duration::from_secs(10), "the replica has it", same);
            let prober = Prober::start(&gateway, &keys[1..], 3);
            thread::sleep(Duration::from_millis(500));
            let dead = sentinel.kill_primary();
            sentinel.wait_failover(dead);
            let promoted = Instant::now();
            let wanted = round + 1;
            eventually(Duration::from_secs(10), "it is found", || {
                (gateway.count_logs(BACK) >= wanted).then_some(())
            });
            thread::sleep(Duration::from_millis(500));
            let probes = prober.end();
            assert_eq!(probes.last().unwrap().status, 200);
            slowest_back = slowest_back.max(last_refusal(&probes, promoted));
            refused += probes.iter().filter(|probe| probe.status == 503).count();
            sentinel.revive(dead);
        }
        assert!(slowest_back < RECOVERY, "refused {slowest_back:?} after");
        let (mut all, mut lost) = (0, 0);
        for (at, key) in keys.iter().enumerate() {
            let credits = if at == 0 { CREDIT * rounds as u64 } else { 0 };
            let left = eventually(Duration::from_secs(30), "nothing is held", || {
                let me = gateway.client().request("GET", "/abc/auth/me").bearer(key);
                let me = me.send().json();
                let left = me["tokensLeft"].as_u64()?;
                (me["tokensFree"] == left).then_some(left)
            });
            let (charged, served) = (GRANT + credits - left, served.of(key));
            assert!(charged <= served, "charged {charged}, served {served}");
            all += served;
            lost += served - charged;
        }
        // What the dead primary had not told its replica yet: at worst what was under way.
        assert!(lost <= 10 * COST * rounds as u64, "{lost} of {all} lost");
        format!(
            "{rounds} failovers, {refused} refusals, served {slowest_back:.1?} after; {lost} of {all} tokens never charged, none too many, no credit lost"
        )
    });
}

/// Everything that asks the store for something.
fn tour(gateway: &Gateway, provider_gate: &Gate) -> String {
    provider_gate.open();
    let admin = |method: &str, path: &str, body: Option<Value>| {
        let client = gateway.client();
        let request = client.request(method, path).bearer(gateway.admin_token());
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send();
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        answer
    };
    let key = mint(gateway, "abc");
    for streamed in [false, true] {
        let mut call = call(&key);
        call["stream"] = json!(streamed);
        let request = gateway.client().request("POST", PATH).bearer(&key);
        assert_eq!(request.json(&call).send().status, 200);
    }
    eventually(Duration::from_secs(10), "a purse is used", || {
        assert_eq!(ask(gateway.client(), &key).0, 200);
        let row = "resullm_admissions_total{from=\"lease\"}";
        (metric(gateway, row) > 3).then_some(())
    });
    let read = admin("GET", "/abc/admin/config", None);
    let tag = read.header("etag").unwrap().to_owned();
    let config = read.json();
    let path = "/abc/admin/config";
    let request = gateway.client().request("PUT", path);
    let request = request
        .bearer(gateway.admin_token())
        .header("if-match", &tag);
    assert_eq!(request.json(&config).send().status, 200);
    admin("PUT", path, Some(config.clone()));
    let minted = admin("POST", "/abc/admin/keys", Some(json!({"tokens": 500})));
    let other = minted.json()["apiKey"].as_str().unwrap().to_owned();
    let path = format!("/abc/admin/keys/{other}");
    admin("GET", &path, None);
    admin("PATCH", &path, Some(json!({"group": "anonymous"})));
    let credit = json!({"tokens": 5, "id": "order"});
    admin("POST", &format!("{path}/credit"), Some(credit));
    admin("DELETE", &path, None);
    admin("GET", "/admin/tenants", None);
    let tenant = json!({"id": "other", "config": config["config"]});
    admin("POST", "/admin/tenants", Some(tenant));
    let tokens = json!({"tokens": ["a-token-of-their-own-long-enough"]});
    admin("PUT", "/admin/tenants/other/tokens", Some(tokens));
    admin("DELETE", "/admin/tenants/other", None);
    eventually(Duration::from_secs(5), "usage is kept", || {
        let usage = admin("GET", "/abc/admin/usage", None).text();
        usage.contains("gpt-4o").then_some(())
    });
    assert_eq!(ready(gateway), 200);
    key
}

/// The line of the example, with a password.
fn acl() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis-acl.example");
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("user "));
    let words = line.unwrap().split_whitespace();
    words
        .map(|word| word.replace("CHANGE-ME", "secret"))
        .collect()
}

fn allow(redis: &Redis, words: &[String]) {
    let mut command = vec!["ACL", "SETUSER"];
    command.extend(words.iter().map(String::as_str));
    redis.cli(&command);
}

/// Commands that were run since the last look, in small letters.
fn commands_run(redis: &Redis) -> Vec<String> {
    let stats = redis.cli(&["INFO", "commandstats"]).text();
    redis.cli(&["CONFIG", "RESETSTAT"]);
    let names = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
    names.map(str::to_owned).collect()
}

#[test]
fn the_permissions_of_the_example_are_enough_and_none_is_too_many() {
    let redis = Redis::start();
    // A credit waits for it.
    let replica = Redis::with(&["--replicaof", &format!("127.0.0.1 {}", redis.port())]);
    wait_info(&replica, "master_link_status", "up");
    let cluster = Cluster::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    case("redis: the permissions of deploy/redis-acl.example", || {
        let words = acl();
        allow(&redis, &words);
        let url = format!("redis://resullm:secret@127.0.0.1:{}/1", redis.port());
        redis.cli(&["CONFIG", "RESETSTAT"]);
        let kept = setup(&url, &provider).env("RESULLM__ACCOUNTS__CREDIT_REPLICAS", "1");
        let gateway = Gateway::start(kept);
        let key = tour(&gateway, &gate);
        let mut run = commands_run(&redis);
        // A record that lost its expiry to someone else takes its books along.
        let mut other = redis.connect().unwrap();
        other.ask(&["SELECT", "1"]).unwrap();
        other.ask(&["PERSIST", &format!("apiKey:{key}")]).unwrap();
        redis.cli(&["CONFIG", "RESETSTAT"]);
        thread::sleep(Duration::from_millis(1_100));
        assert_eq!(ask(gateway.client(), &key).0, 200);
        gateway.signal("TERM");
        assert_eq!(gateway.wait_exit(Duration::from_secs(10)).code(), Some(0));
        run.extend(commands_run(&redis));
        let users = setup(&url, &provider).env("RESULLM__ACCOUNTS__LAYOUT", "user");
        let gateway = Gateway::start(users);
        assert_eq!(ask(gateway.client(), &mint(&gateway, "abc")).0, 200);
        drop(gateway);
        let names = other.ask(&["KEYS", "*"]).unwrap();
        let names: Vec<String> = names.list().iter().map(|name| name.text()).collect();

        for node in cluster.nodes() {
            allow(node, &words);
            node.cli(&["CONFIG", "RESETSTAT"]);
        }
        let hosts = cluster
            .url()
            .replace("cluster://", "cluster://resullm:secret@");
        let alone = setup(&hosts, &provider).env("RESULLM__ACCOUNTS__CREDIT_REPLICAS", "0");
        let gateway = Gateway::start(alone);
        tour(&gateway, &gate);
        // A slot on its way from one server to another.
        let name = "tenant:moving:config";
        let slot = cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", name]).int();
        let slot = slot.to_string();
        let from = cluster.node_of(name);
        let to = cluster
            .nodes()
            .iter()
            .find(|node| node.port() != from.port());
        let to = to.unwrap();
        let id = |node: &Redis| node.cli(&["CLUSTER", "MYID"]).text();
        to.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        from.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
        let minted = gateway.client().request("POST", "/moving/auth/anonymous");
        assert_eq!(minted.send().status, 400);
        for node in cluster.nodes() {
            run.extend(commands_run(node));
            assert!(node.cli(&["ACL", "LOG"]).list().is_empty());
        }
        let denied = redis.cli(&["ACL", "LOG"]);
        assert!(denied.list().is_empty(), "{denied:?}");

        let allowed: Vec<&str> = words
            .iter()
            .filter_map(|word| word.strip_prefix('+'))
            .collect();
        let idle: Vec<&&str> = allowed
            .iter()
            .filter(|name| !run.iter().any(|run| run == *name))
            .collect();
        assert!(idle.is_empty(), "nobody runs {idle:?}: {run:?}");
        let patterns: Vec<&str> = words
            .iter()
            .filter_map(|word| word.strip_prefix('~'))
            .collect();
        for pattern in &patterns {
            let prefix = pattern.trim_end_matches('*');
            let used = names.iter().any(|name| name.starts_with(prefix));
            assert!(used, "{pattern} of {names:?}");
        }
        assert!(words.iter().any(|word| word == "-@all"));
        format!(
            "{} commands and {} patterns, each used; nothing denied, on one server and on a cluster",
            allowed.len(),
            patterns.len()
        )
    });
}

#[test]
fn no_script_is_told_the_time_by_the_gateway() {
    let redis = Redis::start();
    let (served, gate) = (Served::default(), Gate::new());
    let provider = served.provider(&gate);
    case("redis: whose clock decides", || {
        let mut monitor = redis.connect().unwrap();
        monitor.ask(&["MONITOR"]).unwrap();
        let gateway = Gateway::start(setup(&redis.url(), &provider));
        tour(&gateway, &gate);
        let key = mint(&gateway, "abc");
        assert_eq!(ask(gateway.client(), &key).0, 200);
        redis.cli(&["ECHO", "that was all"]);
        let mut scripts = 0;
        loop {
            let line = monitor.read().unwrap().text();
            if line.contains("that was all") {
                break;
            }
            let Some((_, words)) = line.split_once("] \"EVALSHA\" \"") else {
                continue;
            };
            // Its hash, how many names, the names, the time.
            let words: Vec<&str> = words.split("\" \"").collect();
            let names: usize = words[1].parse().unwrap();
            assert_eq!(words[2 + names], "", "{line}");
            scripts += 1;
        }
        assert!(scripts > 20, "{scripts}");
        format!("{scripts} scripts, each by the server's own clock")
    });
}

#[test]
fn a_start_over_tls_and_without_it_at_the_wrong_port_ends_at_once() {
    let (plain, tls) = (Redis::start(), RedisTls::start());
    for (name, url) in [
        (
            "redis: TLS at a port without it",
            format!("rediss://127.0.0.1:{}", plain.port()),
        ),
        (
            "redis: no TLS at a port with it",
            tls.url().replace("rediss", "redis"),
        ),
    ] {
        case(name, || {
            let (status, logs, took) = Gateway::run_to_end(Setup::new().store(&url));
            assert_eq!(status.code(), Some(1), "{logs:#?}");
            let errors = logs.iter().filter(|line| line.starts_with("[ERROR]"));
            let errors: Vec<_> = errors.collect();
            assert_eq!(errors.len(), 1, "{logs:#?}");
            assert!(
                errors[0].starts_with("[ERROR] Redis connection failed: "),
                "{errors:?}"
            );
            assert!(took < Duration::from_secs(6), "{took:?}");
            format!("exit 1 after {took:.1?}")
        });
    }
}

#[test]
fn a_version_with_known_holes_is_named_once() {
    let redis = Redis::start();
    let gateway = Gateway::start(Setup::new().store(&redis.url()));
    let version = redis.info("redis_version").unwrap();
    let warnings = gateway.count_logs("[WARN] The store reports version");
    case("redis: a version with known holes", || {
        // Debian's own, mended without a new number.
        let wanted = if version.starts_with("7.0.") {
            1..=1
        } else {
            0..=1
        };
        assert!(wanted.contains(&warnings), "{warnings}");
        format!("{version}: {warnings} warning")
    });
}
