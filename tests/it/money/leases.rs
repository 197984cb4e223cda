//! Leases: busy keys are spent from a local budget, and the ledger's promise still holds. The metrics prove
//! that leases were used.

use crate::faults::{case, many};
use crate::harness::{
    CHAT_PATH, Client, Gateway, Provider, Redis, Reply, Script, Setup, balance, eventually, mint,
    sample, small_call,
};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A provider that counts the tokens it serves: one of prompt, and output up to the limit, at most three.
fn counting(served: &Arc<AtomicU64>) -> Provider {
    let served = served.clone();
    Provider::start(move |request| {
        let limit = request.json()["max_tokens"].as_u64().unwrap_or(9).min(3);
        served.fetch_add(1 + limit, Ordering::SeqCst);
        Script::chat("x x x", 1, limit)
    })
}

/// Calls on `threads` connections to each gateway until `stop`; counts the responses by status.
struct Load {
    workers: Vec<std::thread::JoinHandle<Vec<u16>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(gateways: &[&Gateway], key: &str, threads: usize) -> Load {
        Load::with_pauses(gateways, key, threads, Duration::ZERO)
    }

    fn with_pauses(gateways: &[&Gateway], key: &str, threads: usize, pause: Duration) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = gateways.iter().flat_map(|gateway| {
            (0..threads).map(|_| {
                let (client, key, stop) = (gateway.client(), key.to_owned(), stop.clone());
                std::thread::spawn(move || {
                    let mut seen = Vec::new();
                    let mut connection = client.connect();
                    while !stop.load(Ordering::SeqCst) {
                        std::thread::sleep(pause);
                        let request = connection
                            .request("POST", CHAT_PATH)
                            .bearer(&key)
                            .json(&small_call());
                        match request.try_send() {
                            Ok(answer) => seen.push(answer.status),
                            // The gateway was killed.
                            Err(_) => break,
                        }
                    }
                    seen
                })
            })
        });
        Load {
            workers: workers.collect(),
            stop,
        }
    }

    fn end(self) -> Vec<u16> {
        self.stop.store(true, Ordering::SeqCst);
        let workers = self.workers.into_iter();
        workers.flat_map(|worker| worker.join().unwrap()).collect()
    }
}

fn count(statuses: &[u16], wanted: u16) -> u64 {
    statuses.iter().filter(|status| **status == wanted).count() as u64
}

fn setup() -> Setup {
    Setup::new().env("RESULLM__SERVER__OPS_LISTEN", "127.0.0.1:0")
}

fn status(gateway: &Gateway, key: &str) -> u16 {
    let client = gateway.client();
    let request = client
        .request("POST", CHAT_PATH)
        .bearer(key)
        .json(&small_call());
    request.send().status
}

/// Number of calls that were admitted from a lease.
fn leased(gateway: &Gateway) -> u64 {
    let line = gateway.wait_log("Metrics on http://");
    let (_, address) = line.split_once("http://").unwrap();
    let address = address.trim_end().trim_end_matches("/metrics");
    let metrics = Client::new(address.parse().unwrap()).get("/metrics").text();
    let row = "resullm_admissions_total{from=\"lease\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(row));
    line.unwrap().parse().unwrap()
}

fn spend_it_all(setups: Vec<Setup>, served: &Arc<AtomicU64>, grant: u64) {
    let gateways: Vec<Gateway> = setups.into_iter().map(Gateway::start).collect();
    let all: Vec<&Gateway> = gateways.iter().collect();
    let key = mint(all[0], "abc");
    let load = Load::start(&all, &key, 8);
    // The final rest does not cover a prompt's bound.
    eventually(Duration::from_secs(90), "the key is spent", || {
        (served.load(Ordering::SeqCst) + 100 > grant && status(all[0], &key) == 402).then_some(())
    });
    let statuses = load.end();
    let answered = served.load(Ordering::SeqCst) / 4;
    assert!(count(&statuses, 200) <= answered);
    assert!(
        count(&statuses, 200) + count(&statuses, 402) + count(&statuses, 429)
            == statuses.len() as u64
    );
    let served = served.load(Ordering::SeqCst);
    assert!(served <= grant, "{served} served on a key worth {grant}");
    let (left, free) = eventually(Duration::from_secs(5), "every lease is given back", || {
        let (left, free) = balance(all[0], &key);
        (left == free).then_some((left, free))
    });
    assert_eq!(
        (left, free),
        (grant - served, grant - served),
        "charged is served"
    );
    for gateway in &all {
        let leased = leased(gateway);
        assert!(leased > 200, "{leased} calls were held against a lease");
    }
}

#[test]
fn three_leasing_instances_spend_a_key_exactly() {
    const GRANT: u64 = 60_000;
    let redis = Redis::start();
    let served = Arc::new(AtomicU64::new(0));
    let provider = counting(&served);
    let config = sample(&provider)
        .tokens(GRANT)
        .rate_limit(1_000_000_000, 60);
    let one = || setup().store(&redis.url()).tenant("abc", config.clone());
    spend_it_all(vec![one(), one(), one()], &served, GRANT);
}

#[test]
fn embedded_leases_spend_a_key_exactly() {
    const GRANT: u64 = 40_000;
    let served = Arc::new(AtomicU64::new(0));
    let provider = counting(&served);
    let config = sample(&provider)
        .tokens(GRANT)
        .rate_limit(1_000_000_000, 60);
    spend_it_all(vec![setup().tenant("abc", config)], &served, GRANT);
}

/// Repeatedly kills an instance that spends from a lease; its next start reports the spending.
fn kill_with_leases(store: Option<&str>, orphans: &str, check: impl Fn(u64, u64, u64)) {
    const GRANT: u64 = 100_000_000;
    let rounds = many(6, 40);
    let served = Arc::new(AtomicU64::new(0));
    let provider = counting(&served);
    let config = sample(&provider)
        .tokens(GRANT)
        .rate_limit(1_000_000_000, 60);
    let yaml = format!("accounts: {{ hold_ttl: 5s, orphans: {orphans} }}");
    let mut setup = setup().tenant("abc", config).yaml(&yaml);
    if let Some(store) = store {
        setup = setup.store(store);
    }
    let first = Gateway::start(setup.clone());
    let key = mint(&first, "abc");
    drop(first);
    let mut answered = 0;
    for round in 0..rounds {
        let gateway = Gateway::start(setup.clone());
        let load = Load::start(&[&gateway], &key, 4);
        eventually(Duration::from_secs(20), "leases are used", || {
            (leased(&gateway) > 100 + 40 * round).then_some(())
        });
        gateway.kill9();
        answered += count(&load.end(), 200);
    }
    let last = Gateway::start(setup);
    let left = eventually(Duration::from_secs(15), "nothing is held", || {
        let (left, free) = balance(&last, &key);
        (left == free).then_some(left)
    });
    assert!(answered > 600, "{answered}");
    let (charged, served) = (GRANT - left, served.load(Ordering::SeqCst));
    let engine = if store.is_some() { "Redis" } else { "embedded" };
    case(
        &format!("crash: killed while spending from a lease, {engine}, orphans {orphans}"),
        || {
            check(charged, served, rounds);
            format!("{rounds} kills, {served} tokens served, {charged} charged")
        },
    );
}

/// At each kill four requests of at most four tokens were in flight.
fn known(charged: u64, served: u64, rounds: u64) {
    let unreported = rounds * 4 * 4;
    assert!(
        charged.abs_diff(served) <= unreported,
        "charged {charged}, served {served}"
    );
}

#[test]
fn lease_spending_of_a_killed_instance_is_reported_at_start() {
    kill_with_leases(Some(&Redis::start().url()), "known", known);
}

#[test]
fn embedded_lease_spending_survives_kill_9() {
    kill_with_leases(None, "known", known);
}

#[test]
fn spent_orphans_keep_leases_charged_after_a_crash() {
    kill_with_leases(
        Some(&Redis::start().url()),
        "spend",
        |charged, served, _| {
            assert!(charged >= served, "charged {charged}, served {served}");
        },
    );
}

#[test]
fn rate_limit_is_exact_with_leased_slots() {
    const LIMIT: u64 = 2_000;
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("x", 1, 1));
    let config = sample(&provider).tokens(100_000_000).rate_limit(LIMIT, 2);
    let one = || setup().store(&redis.url()).tenant("abc", config.clone());
    let gateways = [Gateway::start(one()), Gateway::start(one())];
    let all: Vec<&Gateway> = gateways.iter().collect();
    let key = mint(all[0], "abc");
    // Slow first: a rate limit that is tight for the load leases no slots.
    let load = Load::with_pauses(&all, &key, 1, Duration::from_millis(15));
    for gateway in &all {
        eventually(Duration::from_secs(10), "leases are used", || {
            (leased(gateway) > 50).then_some(())
        });
    }
    load.end();
    let load = Load::start(&all, &key, 8);
    std::thread::sleep(Duration::from_secs(5));

    assert!(count(&load.end(), 429) > 0, "the window was full");

    let mut arrivals: Vec<Instant> = provider.requests().iter().map(|asked| asked.at).collect();
    arrivals.sort();
    assert!(arrivals.len() as u64 > LIMIT, "{} passed", arrivals.len());

    let window = Duration::from_millis(1_900);
    let limit = LIMIT as usize;
    for pair in arrivals.windows(limit + 1) {
        let span = pair[limit] - pair[0];
        assert!(span >= window, "{} within {span:?}", limit + 1);
    }
}

#[test]
fn revoked_leased_key_is_unknown_everywhere_in_a_second() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("x", 1, 1));
    let config = sample(&provider)
        .tokens(100_000_000)
        .rate_limit(1_000_000_000, 60);
    let one = || setup().store(&redis.url()).tenant("abc", config.clone());
    let gateways = [Gateway::start(one()), Gateway::start(one())];
    let all: Vec<&Gateway> = gateways.iter().collect();
    let key = mint(all[0], "abc");
    let load = Load::start(&all, &key, 2);
    for gateway in &all {
        eventually(Duration::from_secs(10), "leases are used", || {
            (leased(gateway) > 50).then_some(())
        });
    }

    let revoked = all[0]
        .client()
        .request("DELETE", &format!("/abc/admin/keys/{key}"))
        .bearer(all[0].admin_token())
        .send();
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(status(all[0], &key), 401, "where it was revoked, at once");
    // The other instance learns it with its next report.
    eventually(Duration::from_secs(1), "it is unknown everywhere", || {
        (status(all[1], &key) == 401).then_some(())
    });
    load.end();
}

#[test]
fn leases_are_returned_at_shutdown_and_when_idle() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("x", 1, 1));
    let config = sample(&provider)
        .tokens(100_000_000)
        .rate_limit(1_000_000_000, 60);
    let one = || setup().store(&redis.url()).tenant("abc", config.clone());
    let (resting, stopping) = (Gateway::start(one()), Gateway::start(one()));
    let key = mint(&resting, "abc");
    let load = Load::start(&[&resting, &stopping], &key, 2);
    for gateway in [&resting, &stopping] {
        eventually(Duration::from_secs(10), "leases are used", || {
            (leased(gateway) > 50).then_some(())
        });
    }
    let answered = count(&load.end(), 200);

    stopping.signal("TERM");
    assert!(stopping.wait_exit(Duration::from_secs(5)).success());

    let books = format!("{{apiKey:{key}}}:books");
    eventually(Duration::from_secs(5), "no lease is left", || {
        let fields = redis.cli(&["HKEYS", &books]);
        let is_lease = |field: &Reply| field.text().starts_with("l:");
        (!fields.list().iter().any(is_lease)).then_some(())
    });

    let record: Value =
        serde_json::from_str(&redis.cli(&["GET", &format!("apiKey:{key}")]).text()).unwrap();
    let charged = 100_000_000 - record["tokensLeft"].as_u64().unwrap();
    assert_eq!(charged, 2 * answered, "two tokens each");
}
