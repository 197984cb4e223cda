//! Farming of anonymous keys from one address, one network and many networks.

use super::{case, many};
use crate::harness::{Gateway, Redis, Setup, sample_at};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const PATH: &str = "/abc/auth/anonymous";

/// Client address by request number.
type Crowd = fn(usize) -> String;

/// Result of a farming run.
#[derive(Debug, Default)]
struct Harvest {
    keys: HashSet<String>,
    refused: usize,
}

impl Harvest {
    fn asked(&self) -> usize {
        self.keys.len() + self.refused
    }
}

/// Mints `questions` times at all gateways at once, from addresses of `from`, through a trusted proxy.
fn farm(gateways: &[Gateway], questions: usize, from: impl Fn(usize) -> String + Sync) -> Harvest {
    let (next, harvest) = (AtomicUsize::new(0), Mutex::new(Harvest::default()));
    thread::scope(|scope| {
        for at in 0..4 * gateways.len() {
            let gateway = &gateways[at % gateways.len()];
            let (next, harvest, from) = (&next, &harvest, &from);
            scope.spawn(move || {
                let mut connection = gateway.client().connect();
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= questions {
                        return;
                    }
                    let request = connection.request("POST", PATH);
                    let answer = request
                        .header("x-forwarded-for", &from(number))
                        .body("")
                        .send();
                    let mut harvest = harvest.lock().unwrap();
                    if answer.status == 200 {
                        let key = answer.json()["apiKey"].as_str().unwrap().to_owned();
                        assert!(harvest.keys.insert(key), "a key is given once");
                        continue;
                    }
                    assert_eq!(answer.status, 429, "{}", answer.text());
                    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                    assert!((3_000..=3_960).contains(&wait), "{wait}");
                    harvest.refused += 1;
                }
            });
        }
    });
    let harvest = harvest.into_inner().unwrap();
    assert_eq!(harvest.asked(), questions);
    harvest
}

fn gateways(store: Option<&Redis>, bounds: &str) -> Vec<Gateway> {
    let config = sample_at("http://127.0.0.1:1/v1/chat/completions");
    let yaml =
        format!("accounts: {{ {bounds} }}\nserver: {{ trusted_proxies: [127.0.0.1], threads: 1 }}");
    let one = || Setup::new().tenant("abc", config.clone()).yaml(&yaml);
    match store {
        Some(redis) => (0..2)
            .map(|_| Gateway::start(one().store(&redis.url())))
            .collect(),
        None => vec![Gateway::start(one())],
    }
}

fn four_of(number: usize) -> String {
    format!("198.51.100.{}", number % 256)
}

/// Addresses of different /64 networks in one /48.
fn six_of(number: usize) -> String {
    format!("2001:db8:7:{number:x}::1")
}

/// Number of stored key records; a refused mint must not write one.
fn written(redis: &Redis) -> usize {
    redis.cli(&["KEYS", "apiKey:*"]).list().len()
}

#[test]
fn network_that_farms_keys_is_limited_alone() {
    let (questions, of_network) = many((500, 150), (10_000, 6_000));
    let of_others = 9;
    let in_all = of_network + of_others;
    let bounds = format!(
        "mints_per_address: 600, mints_per_network: {of_network}, mints_per_tenant: {in_all}"
    );
    let cases: [(&str, Option<Redis>, Crowd); 3] = [
        (
            "one /24, two instances on one Redis",
            Some(Redis::start()),
            four_of,
        ),
        (
            "one /48, two instances on one Redis",
            Some(Redis::start()),
            six_of,
        ),
        ("one /24, embedded", None, four_of),
    ];

    for (name, redis, from) in cases {
        let gateways = gateways(redis.as_ref(), &bounds);
        case(&format!("mints: {name}"), || {
            let farmed = farm(&gateways, questions, from);
            assert_eq!(farmed.keys.len(), of_network);
            // Another network still gets its full share, and then is limited.
            let elsewhere = |number: usize| format!("203.0.{number}.7");
            let others = farm(&gateways, of_others, elsewhere);
            assert_eq!(others.keys.len(), of_others, "the refused took no place");
            assert_eq!(farm(&gateways, 3, |_| "192.0.2.1".into()).refused, 3);
            if let Some(redis) = &redis {
                assert_eq!(written(redis), in_all);
            }
            format!(
                "{questions} asked, {} keys of {of_network}, {} refused; {of_others} of {of_others} others served",
                farmed.keys.len(),
                farmed.refused
            )
        });
    }
}

#[test]
fn limited_address_uses_no_share_of_its_network() {
    let questions = many(300, 10_000);
    let redis = Redis::start();
    let bounds = "mints_per_address: 5, mints_per_network: 12, mints_per_tenant: 20";
    let gateways = gateways(Some(&redis), bounds);
    case("mints: refused ones of one address", || {
        let one = farm(&gateways, questions, |_| "198.51.100.1".into());
        assert_eq!(one.keys.len(), 5);

        let neighbours = farm(&gateways, 60, |number| {
            format!("198.51.100.{}", 2 + number % 6)
        });
        assert_eq!(neighbours.keys.len(), 12 - 5);
        let others = farm(&gateways, 60, |number| format!("203.0.{number}.1"));
        assert_eq!(others.keys.len(), 20 - 12);

        // Requests that the tenant's limit refuses use no slot of narrower limits.
        let places = redis.cli(&["KEYS", "count:{mint:abc}:*"]).list().len();
        // Any two of the six neighbours may have used all seven slots, because the limit per address is five.
        let of = |neighbours: usize| (1 + neighbours + 8) + (1 + 8) + 1;
        assert!(
            (of(2)..=of(6)).contains(&places),
            "who got nothing left nothing: {places}"
        );
        format!(
            "{questions} asked by one address, 5 keys; 7 of 7 places of its network and 8 of 8 of the tenant were left"
        )
    });
}
