//! Refill of balances with the day: once, over all instances, and never downwards.

use super::{config, key_of, me, session};
use crate::harness::clock::{clean_up, off_by};
use crate::harness::{Gateway, Provider, Redis, Script, Setup, chat, eventually, small_call};
use serde_json::json;
use std::time::Duration;

fn setup(redis: &Redis, provider: &Provider, tokens: u64) -> Setup {
    let config = config(provider).set(
        "user_groups.google_logged_in.refill",
        json!({"tokens": tokens, "every": "24h"}),
    );
    Setup::new().store(&redis.url()).tenant("abc", config)
}

/// Moves what the account knows of its last refill into the past, as the passing of days does.
fn yesterday(redis: &Redis, user: &str) {
    let person = resullm::rules::person::PersonId::derive("abc", "app", "", user);
    let books = format!("{{user:{person}}}:books");
    let last: u64 = redis.cli(&["HGET", &books, "r:"]).text().parse().unwrap();
    redis.cli(&["HSET", &books, "r:", &(last - 86_400_000).to_string()]);
}

#[test]
fn balance_is_refilled_once_a_day_over_three_instances() {
    let (redis, provider) = (
        Redis::start(),
        Provider::start(|_| Script::chat("Hi", 3, 4)),
    );
    let setup = setup(&redis, &provider, 100_000);
    let gateways: Vec<Gateway> = (0..3).map(|_| Gateway::start(setup.clone())).collect();
    let key = key_of(&session(&gateways[0], &json!({"userId": "u"})));
    assert_eq!(chat(&gateways[0], "abc", &key, &small_call()).status, 200);
    assert_eq!(
        me(&gateways[0], &key).json()["tokensLeft"],
        993,
        "not again on the day of creation"
    );
    yesterday(&redis, "u");
    assert_eq!(
        me(&gateways[0], &key).json()["tokensLeft"],
        100_000,
        "shown before it is written"
    );

    std::thread::scope(|scope| {
        for at in 0..40 {
            let (gateway, key) = (&gateways[at % 3], &key);
            scope.spawn(move || {
                for _ in 0..25 {
                    assert_eq!(chat(gateway, "abc", key, &small_call()).status, 200);
                }
            });
        }
    });

    // Other instances report what they spent of their leases shortly after.
    let shown = eventually(Duration::from_secs(10), "all is charged", || {
        let shown = me(&gateways[0], &key).json();
        (shown["tokensLeft"] == 100_000 - 1000 * 7).then_some(shown)
    });
    let at = shown["refillsAt"].as_str().unwrap();
    assert!(at.ends_with("T00:00:00.000Z"), "{at}");
}

#[test]
fn refill_never_takes_away() {
    let (redis, provider) = (
        Redis::start(),
        Provider::start(|_| Script::chat("Hi", 3, 4)),
    );
    let gateway = Gateway::start(setup(&redis, &provider, 50));
    let key = key_of(&session(&gateway, &json!({"userId": "u"})));
    yesterday(&redis, "u");
    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
    assert_eq!(me(&gateway, &key).json()["tokensLeft"], 993);
}

/// The embedded store has the process's clock.
#[test]
fn spent_key_of_any_kind_works_again_on_the_next_day() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let config = config(&provider)
        .tokens(30)
        .set("user_groups.anonymous.refill", json!({"tokens": 30}));
    let setup = Setup::new()
        .yaml("accounts: { anonymous_ttl: 10d }")
        .tenant("abc", config);
    let gateway = Gateway::start(setup.clone());
    let key = crate::harness::mint(&gateway, "abc");
    while chat(&gateway, "abc", &key, &small_call()).status == 200 {}
    drop(gateway);
    let mut tomorrow = setup;
    for (name, value) in off_by("+24h") {
        tomorrow = tomorrow.env(name, &value);
    }

    let gateway = Gateway::start(tomorrow);
    let answer = chat(&gateway, "abc", &key, &small_call());

    assert_eq!(answer.status, 200, "{}", answer.text());
    let pid = gateway.pid();
    drop(gateway);
    clean_up(pid);
}
