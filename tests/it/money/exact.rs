//! The ledger's promise: a key with a balance of N tokens never gets more than N, whatever the concurrency,
//! the number of instances, or the crashes.

use crate::faults::{case, many};
use crate::harness::{
    CHAT_PATH, Gateway, Provider, Redis, Script, Setup, Step, balance, eventually, mint, sample,
    small_call, within,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A provider that counts the tokens it serves: one of prompt, and output up to the limit, at most three.
fn counting(served: &Arc<AtomicU64>) -> Provider {
    let served = served.clone();
    Provider::start(move |request| {
        let call = request.json();
        let limit = call["max_tokens"].as_u64().unwrap_or(1_000_000).min(3);
        served.fetch_add(1 + limit, Ordering::SeqCst);
        Script::chat(&"x ".repeat(limit as usize), 1, limit)
    })
}

/// Sends `calls` equal calls on `threads` connections and counts the responses by status.
fn storm(gateways: &[&Gateway], key: &str, calls: u64, threads: usize) -> [u64; 600] {
    storm_of(gateways, key, calls, threads, |_| small_call())
}

/// Sends the calls that `call` makes of their numbers.
fn storm_of(
    gateways: &[&Gateway],
    key: &str,
    calls: u64,
    threads: usize,
    call: fn(u64) -> Value,
) -> [u64; 600] {
    let next = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..threads)
        .map(|at| {
            let (client, key, next) = (
                gateways[at % gateways.len()].client(),
                key.to_owned(),
                next.clone(),
            );
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                let mut connection = client.connect();
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= calls {
                        break;
                    }
                    seen.push(
                        connection
                            .request("POST", CHAT_PATH)
                            .bearer(&key)
                            .json(&call(number))
                            .send()
                            .status,
                    );
                }
                seen
            })
        })
        .collect();
    let mut statuses = [0; 600];
    for worker in workers {
        worker
            .join()
            .unwrap()
            .into_iter()
            .for_each(|status| statuses[usize::from(status)] += 1);
    }
    statuses
}

#[track_caller]
fn a_thousand_at_once(store: &str, setups: Vec<Setup>, served: &Arc<AtomicU64>) {
    let gateways: Vec<Gateway> = setups.into_iter().map(Gateway::start).collect();
    let all: Vec<&Gateway> = gateways.iter().collect();
    let key = mint(all[0], "abc");
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (client, key, stop) = (all[0].client(), key.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let me = client
                    .request("GET", "/abc/auth/me")
                    .bearer(&key)
                    .send()
                    .json();
                let (left, free) = (
                    me["tokensLeft"].as_u64().unwrap(),
                    me["tokensFree"].as_u64().unwrap(),
                );
                assert!(free <= left && left <= 100, "{me}");
            }
        })
    };
    let statuses = storm(&all, &key, 1000, 60);
    stop.store(true, Ordering::SeqCst);
    watcher.join().unwrap();
    assert_eq!(
        statuses[200] + statuses[402] + statuses[429],
        1000,
        "nothing else is answered"
    );
    let mut answered = statuses[200];
    let exact = |answered: u64| {
        let served = served.load(Ordering::SeqCst);
        assert_eq!(served, 4 * answered);
        assert!(served <= 100, "{served} served on a key worth 100");
        // Another instance returns its lease shortly after its last call.
        let settled = || balance(all[0], &key) == (100 - served, 100 - served);
        let is_settled = within(Duration::from_secs(5), || settled().then_some(())).is_some();
        let (left, free) = balance(all[0], &key);
        assert!(
            is_settled,
            "charged is served, and nothing is held: {served} served, {left} left, {free} free"
        );
        served
    };
    exact(answered);
    // The storm may leave a rest, which is spent here.
    while storm(&all, &key, 1, 1)[200] == 1 {
        answered += 1;
        exact(answered);
    }
    let served = exact(answered);
    case(
        &format!("exact: a thousand at once on a key worth 100 tokens, {store}"),
        || {
            // A low count would prove nothing.
            assert!(served >= 80, "{served}");
            format!("{answered} answered, {served} tokens served, as many charged")
        },
    );
}

#[test]
fn concurrent_requests_over_three_instances_spend_exactly() {
    let redis = Redis::start();
    let served = Arc::new(AtomicU64::new(0));
    let provider = counting(&served);
    let config = sample(&provider).tokens(100);
    let setups = (0..3)
        .map(|_| {
            Setup::new()
                .store(&redis.url())
                .tenant("abc", config.clone())
        })
        .collect();
    a_thousand_at_once("three instances on Redis", setups, &served);
}

#[test]
fn concurrent_requests_on_an_embedded_store_spend_exactly() {
    let served = Arc::new(AtomicU64::new(0));
    let provider = counting(&served);
    a_thousand_at_once(
        "embedded",
        vec![Setup::new().tenant("abc", sample(&provider).tokens(100))],
        &served,
    );
}

/// One of seven calls, so that most have been made before.
fn repeated_call(number: u64) -> Value {
    let mut call = small_call();
    call["seed"] = json!(number % 7);
    call
}

/// A key worth 100 tokens asks for answers that others are asking for, or have got: the first pays 4 tokens, every
/// other one a fee of 1.
#[track_caller]
fn a_thousand_from_the_cache(store: &str, setups: Vec<Setup>, served: &Arc<AtomicU64>) {
    let gateways: Vec<Gateway> = setups.into_iter().map(Gateway::start).collect();
    let all: Vec<&Gateway> = gateways.iter().collect();
    let key = mint(all[0], "abc");
    let mut answered = 0;
    let mut exact = |statuses: [u64; 600]| {
        answered += statuses[200];
        let paid = || {
            let served = served.load(Ordering::SeqCst);
            (served + answered - served / 4, served)
        };
        let settled = || balance(all[0], &key) == (100 - paid().0, 100 - paid().0);
        assert!(paid().0 <= 100, "{answered} answered, {} served", paid().1);
        let is_settled = within(Duration::from_secs(5), || settled().then_some(())).is_some();
        let (left, free) = balance(all[0], &key);
        assert!(
            is_settled,
            "{answered} answered, {} served, {left} left, {free} free",
            paid().1
        );
        left
    };
    let statuses = storm_of(&all, &key, 1000, 60, repeated_call);
    assert_eq!(statuses[200] + statuses[402] + statuses[429], 1000);
    let mut left = exact(statuses);
    // A call needs a hold for its full price, so a rest may stay.
    for _ in 0..100 {
        let statuses = storm_of(&all, &key, 1, 1, repeated_call);
        left = exact(statuses);
        if statuses[200] == 0 {
            break;
        }
    }
    case(
        &format!("exact: a thousand of seven answers on a key worth 100 tokens, {store}"),
        || {
            assert!(left < 20, "{left}");
            let served = served.load(Ordering::SeqCst);
            assert!(served <= 4 * 7 * gateways.len() as u64, "{served} served");
            format!("{answered} answered, {served} tokens served, {left} left")
        },
    );
}

#[test]
fn prices_and_fees_over_three_instances_spend_exactly() {
    let redis = Redis::start();
    let served = Arc::new(AtomicU64::new(0));
    let provider = counting(&served);
    let config = sample(&provider).tokens(100).caching(20);
    let setups = (0..3)
        .map(|_| {
            Setup::new()
                .store(&redis.url())
                .tenant("abc", config.clone())
        })
        .collect();
    a_thousand_from_the_cache("three instances on Redis", setups, &served);
}

#[test]
fn prices_and_fees_on_an_embedded_store_spend_exactly() {
    let served = Arc::new(AtomicU64::new(0));
    let provider = counting(&served);
    let config = sample(&provider).tokens(100).caching(20);
    a_thousand_from_the_cache(
        "embedded",
        vec![Setup::new().tenant("abc", config)],
        &served,
    );
}

/// Number of kill -9 rounds: a few, or `KILL_ROUNDS`.
fn rounds() -> usize {
    std::env::var("KILL_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(many(20, 200))
}

/// Runs two instances under load on one key and repeatedly kills and restarts one of them.
fn kill_one_of_two(orphans: &str, keeps: bool, check: impl Fn(u64, u64, u64)) {
    // The key must not be exhausted, because its end would hide unpaid tokens.
    let grant = 10_000 * rounds() as u64;
    let redis = Redis::start();
    let served = Arc::new(AtomicU64::new(0));
    let provider = counting(&served);
    let mut config = sample(&provider).tokens(grant).rate_limit(1_000_000, 60);
    if keeps {
        config = config.caching(20);
    }
    let seeds = Arc::new(AtomicU64::new(0));
    let yaml = format!("accounts: {{ hold_ttl: 5s, orphans: {orphans} }}");
    let setup = || {
        Setup::new()
            .store(&redis.url())
            .tenant("abc", config.clone())
            .yaml(&yaml)
    };
    let (steady, mortal) = (Gateway::start(setup()), setup());
    let key = mint(&steady, "abc");
    let stop = Arc::new(AtomicBool::new(false));
    let load = |client: crate::harness::Client| {
        let (key, stop, seeds) = (key.clone(), stop.clone(), seeds.clone());
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let mut call = small_call();
                // No two calls are equal, so that each is made.
                call["seed"] = json!(seeds.fetch_add(1, Ordering::Relaxed));
                if client
                    .request("POST", CHAT_PATH)
                    .bearer(&key)
                    .json(&call)
                    .try_send()
                    .is_err()
                {
                    break;
                }
            }
        })
    };
    let mut workers: Vec<_> = (0..3).map(|_| load(steady.client())).collect();
    for round in 0..rounds() {
        let gateway = Gateway::start(mortal.clone());
        workers.extend((0..3).map(|_| load(gateway.client())));
        std::thread::sleep(Duration::from_millis(30 + 17 * (round as u64 % 5)));
        gateway.kill9();
        let left: Value =
            serde_json::from_str(&redis.cli(&["GET", &format!("apiKey:{key}")]).text()).unwrap();
        let left = left["tokensLeft"].as_u64().unwrap();
        assert!(served.load(Ordering::SeqCst) <= grant && left <= grant);
    }
    stop.store(true, Ordering::SeqCst);
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
    // The killed instance starts once more and settles its orphans.
    let last = Gateway::start(mortal);
    let (left, _) = eventually(Duration::from_secs(15), "no hold is left", || {
        let (left, free) = balance(&last, &key);
        (left == free).then_some((left, free))
    });
    let (charged, served) = (grant - left, served.load(Ordering::SeqCst));
    case(
        &format!("crash: one of two instances killed, orphans {orphans}"),
        || {
            check(charged, served, rounds() as u64);
            format!(
                "{} kills, {served} tokens served, {charged} charged",
                rounds()
            )
        },
    );
}

#[test]
fn kills_with_known_orphans_charge_all_that_was_reported() {
    kill_one_of_two("known", false, |charged, served, rounds| {
        // At each kill three requests of at most four tokens were in flight.
        let unreported = rounds * 3 * 4;
        assert!(
            charged.abs_diff(served) <= unreported,
            "charged {charged}, served {served}"
        );
    });
}

#[test]
fn kills_with_spent_orphans_charge_all_that_was_served_with_answers_kept() {
    kill_one_of_two("spend", true, |charged, served, _| {
        assert!(charged >= served, "charged {charged}, served {served}");
    });
}

/// A stream of `k` one-word chunks that then stalls.
fn words(k: usize, anthropic: bool) -> Script {
    let mut script = Script::new().head(200, &[("content-type", "text/event-stream")]);
    if anthropic {
        script = script.bytes("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n");
    }
    for i in 0..k {
        let event = if anthropic {
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\" word{i}\"}}}}\n\n"
            )
        } else {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{i}\"}}}}]}}\n\n"
            )
        };
        script = script.bytes(event);
    }
    script.bytes(": silence\n\n").then(Step::Stall)
}

#[test]
fn disconnect_after_k_chunks_is_charged_k_chunks() {
    let provider = Provider::start(|request| {
        let k = request.json()["seed"].as_u64().unwrap();
        words(k as usize, request.path.ends_with("messages"))
    });
    let config = sample(&provider).tokens(1_000_000).endpoint(
        "claude",
        &provider.url("/v1/messages"),
        "claude-3",
    );
    let config = config
        .server("openai", "openai")
        .server("claude", "anthropic");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));

    for (path, model) in [(CHAT_PATH, "gpt-4o"), ("/abc/v1/messages", "claude-3-opus")] {
        for k in 0..=50u64 {
            let key = mint(&gateway, "abc");
            let call = json!({"model": model, "stream": true, "max_tokens": 1000, "seed": k, "messages": []});
            let mut stream = gateway
                .client()
                .request("POST", path)
                .bearer(&key)
                .json(&call)
                .send_streaming();
            assert_eq!(stream.status, 200);
            stream.wait_for(": silence");
            drop(stream);
            let charged = eventually(Duration::from_secs(5), "it is settled", || {
                let (left, free) = balance(&gateway, &key);
                (left == free && (k == 0 || left < 1_000_000)).then_some(1_000_000 - left)
            });
            // A word and its number are two tokens, and at most as many as their bytes; Anthropic has
            // reported the prompt. Both sides have message frames.
            let generated = 2 * k;
            let (frames, most) = match model {
                "gpt-4o" => (16 + 45, generated),
                _ => (16 + 25, 2 * generated),
            };
            assert!(
                (generated..=most + frames).contains(&charged),
                "k {k}: {charged} for {generated}"
            );
        }
    }
}

#[test]
fn rate_limit_is_exact_over_three_instances() {
    const LIMIT: u64 = 20;
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("x", 1, 1));
    let config = sample(&provider).tokens(1_000_000).rate_limit(LIMIT, 2);
    let setup = || {
        Setup::new()
            .store(&redis.url())
            .tenant("abc", config.clone())
    };
    let gateways = [
        Gateway::start(setup()),
        Gateway::start(setup()),
        Gateway::start(setup()),
    ];
    let all: Vec<&Gateway> = gateways.iter().collect();
    let key = mint(all[0], "abc");
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        storm(&all, &key, 200, 12);
    }
    let mut arrivals: Vec<_> = provider
        .requests()
        .iter()
        .map(|request| request.at)
        .collect();
    arrivals.sort();

    assert!(
        arrivals.len() as u64 >= 3 * LIMIT,
        "{} passed",
        arrivals.len()
    );

    // The provider sees a request shortly after its admission, so the checked windows are that much shorter.
    let window = Duration::from_millis(1_900);
    for (at, first) in arrivals.iter().enumerate() {
        let inside = arrivals[at..]
            .iter()
            .take_while(|other| **other - *first < window)
            .count();
        assert!(inside as u64 <= LIMIT, "{inside} within {window:?}");
    }
}
