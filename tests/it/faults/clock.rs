//! Clock skew: of three gateways on one Redis, one is an hour ahead and one an hour behind. Expiry must
//! follow the store's clock, and durations the monotonic clock.

use super::{case, many};
use crate::harness::clock::ahead;
use crate::harness::{
    CHAT_PATH, Client, Gate, Gateway, Provider, Redis, Script, Setup, Step, balance, eventually,
    mint, sample, small_call, within,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OFFSETS: [(Option<&str>, i64); 3] = [(None, 0), (Some("+1h"), 3_600), (Some("-1h"), -3_600)];

/// Starts three gateways with offsets 0, +1 h and -1 h, and asserts their offsets.
fn three(setup: impl Fn() -> Setup) -> Vec<Gateway> {
    let gateways = OFFSETS.iter().map(|(offset, seconds)| {
        let setup = offset
            .iter()
            .fold(setup(), |setup, offset| setup.clock(offset));
        let gateway = Gateway::start(setup);
        let off = ahead(&gateway.client().get("/healthz"));
        assert!((off - seconds).abs() < 60, "{off} s, not {seconds}");
        gateway
    });
    gateways.collect()
}

/// Mints a key without expiry.
fn lasting(gateway: &Gateway, tokens: u64) -> String {
    let client = gateway.client();
    let request = client.request("POST", "/abc/admin/keys");
    let request = request.bearer(gateway.admin_token());
    let minted = request.json(&json!({"tokens": tokens})).send();
    assert_eq!(minted.status, 201, "{}", minted.text());
    minted.json()["apiKey"].as_str().unwrap().to_owned()
}

fn status(client: Client, key: &str) -> u16 {
    let request = client
        .request("POST", CHAT_PATH)
        .bearer(key)
        .json(&small_call());
    request.send().status
}

#[test]
fn rate_limit_holds_over_instances_with_skewed_clocks() {
    const LIMIT: usize = 20;
    const SPAN: u64 = 3;
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("x", 1, 1));
    let config = sample(&provider).rate_limit(LIMIT as u64, SPAN);
    let gateways = three(|| {
        Setup::new()
            .store(&redis.url())
            .tenant("abc", config.clone())
    });
    case("clock: rate limit, three instances an hour apart", || {
        let key = lasting(&gateways[0], 1_000_000);
        let windows = many(3, 20);
        // Window slices can add a tenth of the window.
        let until = Instant::now() + Duration::from_millis(1_100 * SPAN * windows);

        thread::scope(|scope| {
            for gateway in &gateways {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while Instant::now() < until {
                            let request = gateway.client().request("POST", CHAT_PATH).bearer(&key);
                            let answer = request.json(&small_call()).send();
                            if answer.status == 429 {
                                let wait = answer.header("retry-after").unwrap();
                                let wait: u64 = wait.parse().unwrap();
                                assert!((1..=SPAN + 1).contains(&wait), "{wait}");
                                thread::sleep(Duration::from_millis(20));
                            } else {
                                assert_eq!(answer.status, 200, "{}", answer.text());
                            }
                        }
                    });
                }
            }
        });

        let requests = provider.requests();
        let mut arrivals: Vec<Instant> = requests.iter().map(|asked| asked.at).collect();
        arrivals.sort();
        // The provider sees a call a little after its admission.
        let least = Duration::from_secs(SPAN) - Duration::from_millis(200);
        for pair in arrivals.windows(LIMIT + 1) {
            let span = pair[LIMIT] - pair[0];
            assert!(span >= least, "{} within {span:?}", LIMIT + 1);
        }

        let passed = arrivals.len();
        let fewest = LIMIT * (windows as usize - 1);
        assert!(passed >= fewest, "{passed} of at least {fewest}");
        format!("{passed} passed in {windows} windows of {LIMIT}, never one more in any")
    });
}

/// A stream of one word that then waits for the gate: 100 prompt tokens and at most 50 more.
fn stalling(gate: &Gate) -> Provider {
    let gate = gate.clone();
    Provider::start(move |_| {
        Script::chat_stream(&["one ", "two "], 10, 2)
            .after(2, Step::WaitUntilReleased(gate.clone()))
    })
}

fn long_call() -> Value {
    json!({"stream": true, "messages": [{"role": "user", "content": "x"}], "max_tokens": 50})
}

#[test]
fn hold_outlives_its_request_despite_skewed_clocks() {
    const GRANT: u64 = 10_000;
    const TTL: Duration = Duration::from_secs(5);
    let redis = Redis::start();
    let gate = Gate::new();
    let provider = stalling(&gate);
    let config = sample(&provider);
    let gateways = three(|| {
        let setup = Setup::new().store(&redis.url());
        setup
            .tenant("abc", config.clone())
            .yaml("accounts: { hold_ttl: 5s }")
    });
    let keys: Vec<String> = gateways.iter().map(|one| lasting(one, GRANT)).collect();
    let held = |by: usize, key: usize| {
        let (left, free) = balance(&gateways[by], &keys[key]);
        assert_eq!(left, GRANT, "nothing is charged yet");
        left - free
    };
    case(
        "clock: holds of long streams, three instances an hour apart",
        || {
            let mut streams: Vec<_> = gateways
                .iter()
                .zip(&keys)
                .map(|(gateway, key)| {
                    let request = gateway.client().request("POST", CHAT_PATH).bearer(key);
                    let mut stream = request.json(&long_call()).send_streaming();
                    stream.wait_for("one ");
                    stream
                })
                .collect();
            let time = TTL * many(2, 6);
            let until = Instant::now() + time;
            let mut looks = 0;
            while Instant::now() < until {
                for key in 0..3 {
                    for by in 0..3 {
                        assert!(held(by, key) >= 50, "the hold of {key} is gone to {by}");
                        looks += 1;
                    }
                }
                thread::sleep(Duration::from_millis(50));
            }

            // The two gateways with wrong clocks are killed; the third one observes their holds.
            let died = Instant::now();
            gateways[1].kill9();
            gateways[2].kill9();
            let mut came_back = [Duration::ZERO; 3];
            eventually(3 * TTL, "the holds of the dead come back", || {
                for key in [1, 2] {
                    let (left, free) = balance(&gateways[0], &keys[key]);
                    if left == free && came_back[key].is_zero() {
                        came_back[key] = died.elapsed();
                    }
                }
                assert!(held(0, 0) >= 50, "who lives keeps its own");
                (!came_back[1].is_zero() && !came_back[2].is_zero()).then_some(())
            });
            for after in &came_back[1..] {
                // The last renewal was at most a third of the TTL ago.
                assert!(*after > TTL / 2, "after {after:?} already");
                assert!(*after < TTL * 2, "after {after:?} only");
            }
            gate.open();
            streams.remove(0).wait_for("[DONE]");
            eventually(Duration::from_secs(5), "the stream is settled", || {
                (balance(&gateways[0], &keys[0]) == (GRANT - 12, GRANT - 12)).then_some(())
            });
            let orphans: Vec<u64> = [1, 2]
                .map(|key| GRANT - balance(&gateways[0], &keys[key]).0)
                .into();
            assert!(
                orphans.iter().all(|cost| (1..60).contains(cost)),
                "{orphans:?}"
            );
            // Their next starts read their journals and charge nothing twice.
            for (key, cost) in [1, 2].into_iter().zip(&orphans) {
                let again = Gateway::start(gateways[key].setup().clone());
                let left = GRANT - cost;
                assert_eq!(balance(&again, &keys[key]), (left, left));
            }
            format!(
                "three held for {time:?} ({looks} looks); two killed, back after {:.1?} and {:.1?} of {TTL:?}",
                came_back[1], came_back[2]
            )
        },
    );
}

#[test]
fn key_expires_by_the_stores_clock() {
    let redis = Redis::start();
    let provider = Provider::start(|_| Script::chat("x", 1, 1));
    let config = sample(&provider);
    let gateways = three(|| {
        let setup = Setup::new().store(&redis.url());
        setup
            .tenant("abc", config.clone())
            .yaml("accounts: { anonymous_ttl: 6s }")
    });
    case(
        "clock: expiry of keys, three instances an hour apart",
        || {
            let minted: Vec<(Instant, String)> = gateways
                .iter()
                .map(|gateway| (Instant::now(), mint(gateway, "abc")))
                .collect();
            for (at, key) in &minted {
                for gateway in &gateways {
                    let answered = status(gateway.client(), key);
                    assert!(answered == 200 || at.elapsed() > Duration::from_secs(5));
                }
            }
            for (at, key) in &minted {
                let record = format!("apiKey:{key}");
                eventually(Duration::from_secs(15), "the key expires", || {
                    (redis.cli(&["EXISTS", &record]).int() == 0).then_some(())
                });
                let lived = at.elapsed();
                assert!(lived >= Duration::from_millis(5_900), "{lived:?}");
                for gateway in &gateways {
                    assert_eq!(status(gateway.client(), key), 401);
                }
            }
            "three keys, used by each of three, unknown to all after 6 s".to_owned()
        },
    );
}

#[test]
fn instances_with_skewed_clocks_spend_a_key_exactly() {
    let grant = many(12_000, 60_000);
    let redis = Redis::start();
    let served = Arc::new(AtomicU64::new(0));
    let counted = served.clone();
    let provider = Provider::start(move |request| {
        let limit = request.json()["max_tokens"].as_u64().unwrap_or(9).min(3);
        counted.fetch_add(1 + limit, Ordering::SeqCst);
        Script::chat("x x x", 1, limit)
    });
    let config = sample(&provider).rate_limit(1_000_000_000, 60);
    let gateways = three(|| {
        Setup::new()
            .store(&redis.url())
            .tenant("abc", config.clone())
    });
    case(
        "clock: a key spent to its end, three instances an hour apart",
        || {
            let key = lasting(&gateways[0], grant);
            let spent = AtomicBool::new(false);
            thread::scope(|scope| {
                for gateway in &gateways {
                    for _ in 0..4 {
                        scope.spawn(|| {
                            let mut connection = gateway.client().connect();
                            while !spent.load(Ordering::SeqCst) {
                                let request = connection.request("POST", CHAT_PATH).bearer(&key);
                                let status = request.json(&small_call()).send().status;
                                assert!([200, 402, 429].contains(&status), "{status}");
                            }
                        });
                    }
                }
                let watched = within(Duration::from_secs(90), || {
                    let all = served.load(Ordering::SeqCst) + 100 > grant;
                    let nothing_held = balance(&gateways[0], &key).0 < 100;
                    (all && nothing_held).then_some(())
                });
                spent.store(true, Ordering::SeqCst);
                assert!(watched.is_some(), "the key is not spent");
            });
            let served = || served.load(Ordering::SeqCst);
            assert!(served() <= grant, "{} served of {grant}", served());
            eventually(Duration::from_secs(10), "charged is served", || {
                let left = grant - served();
                let all_agree = |gateway| balance(gateway, &key) == (left, left);
                gateways.iter().all(all_agree).then_some(())
            });
            format!("{} of {grant} tokens served, as many charged", served())
        },
    );
}
