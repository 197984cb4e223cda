//! The balance of an anonymous key moves to the account that begins with it: all that is left, once, whatever is in
//! flight and whoever dies.

use super::{config, key_of, me, session};
use crate::faults::{case, many};
use crate::harness::{
    Cluster, Gate, Gateway, Provider, Redis, Script, Setup, Step, chat, eventually, mint,
    small_call,
};
use serde_json::{Value, json};
use std::time::Duration;

fn carried(gateway: &Gateway, user: &str, temp: &str) -> Value {
    let answer = session(gateway, &json!({"userId": user, "carryOver": temp}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn what_is_left_moves_with_the_creation_and_never_again() {
    let (redis, provider) = (
        Redis::start(),
        Provider::start(|_| Script::chat("Hi", 3, 4)),
    );
    for setup in [
        Setup::new(),
        Setup::new().store(&redis.url()),
        Setup::new().yaml("accounts: { layout: user }"),
    ] {
        let gateway = Gateway::start(setup.tenant("abc", config(&provider)));
        let (temp, later) = (mint(&gateway, "abc"), mint(&gateway, "abc"));
        assert_eq!(chat(&gateway, "abc", &temp, &small_call()).status, 200);

        let first = carried(&gateway, "u", &temp);

        assert_eq!(
            (&first["carriedOver"], &first["tokensLeft"]),
            (&json!(93), &json!(1093))
        );
        assert_eq!(chat(&gateway, "abc", &temp, &small_call()).status, 401);
        assert_eq!(me(&gateway, &temp).status, 401);
        let again = carried(&gateway, "u", &later);
        assert_eq!(
            (&again["carriedOver"], &again["tokensLeft"]),
            (&json!(0), &json!(1093))
        );
        assert_eq!(
            me(&gateway, &later).json()["tokensLeft"],
            100,
            "the other key lives on"
        );
        let moved = carried(&gateway, "somebody else", &temp);
        assert_eq!(moved["carriedOver"], 0);
    }
}

#[test]
fn only_an_anonymous_key_of_this_tenant_moves_and_no_more_than_its_group_has() {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new()
        .tenant("abc", config(&provider))
        .tenant("other", config(&provider));
    let gateway = Gateway::start(setup);
    let others = mint(&gateway, "other");
    assert_eq!(carried(&gateway, "a", &others)["carriedOver"], 0);
    let paid = super::post(
        &gateway,
        "/abc/admin/keys",
        gateway.admin_token(),
        &json!({"group": "paid"}),
    );
    assert_eq!(carried(&gateway, "b", &key_of(&paid))["carriedOver"], 0);
    assert_eq!(me(&gateway, &key_of(&paid)).json()["tokensLeft"], 5000);
    let person = key_of(&session(&gateway, &json!({"userId": "c"})));
    assert_eq!(carried(&gateway, "d", &person)["carriedOver"], 0);
    let rich = super::post(
        &gateway,
        "/abc/admin/keys",
        gateway.admin_token(),
        &json!({"group": "anonymous", "tokens": 5000}),
    );
    assert_eq!(carried(&gateway, "e", &key_of(&rich))["carriedOver"], 100);
}

/// 1,000 tokens, 28 spent, three calls in flight that hold what they may use.
#[test]
fn tokens_held_by_calls_in_flight_follow_when_they_are_settled() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let gate = Gate::new();
        let held = gate.clone();
        let provider = Provider::start(move |asked| {
            let script = Script::chat("Hi", 1, 1);
            match asked.text().contains("slowly") {
                true => script.first(Step::WaitUntilReleased(held.clone())),
                false => Script::chat("Hi", 3, 4),
            }
        });
        let gateway = Gateway::start(setup.tenant("abc", config(&provider).tokens(1000)));
        let temp = mint(&gateway, "abc");
        for _ in 0..4 {
            assert_eq!(chat(&gateway, "abc", &temp, &small_call()).status, 200);
        }
        let slow = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "slowly"}]});
        let under_way = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| chat(&gateway, "abc", &temp, &slow).status))
                .collect();
            provider.wait_requests(7);
            let free = me(&gateway, &temp).json()["tokensFree"].as_u64().unwrap();
            assert!(free < 972, "{free}");

            let first = carried(&gateway, "u", &temp);

            assert_eq!(first["carriedOver"], free);
            gate.open();
            let key = first["apiKey"].as_str().unwrap().to_owned();
            for call in calls {
                assert_eq!(call.join().unwrap(), 200);
            }
            key
        });
        // 972 were left, of which the three calls used 2 each.
        let left = || me(&gateway, &under_way).json()["tokensLeft"].as_u64();
        let all = Some(1000 + 972 - 6);
        eventually(Duration::from_secs(10), "the rest has followed", || {
            (left() == all).then_some(())
        });
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(left(), all);
    }
}

/// Time within which an instance is killed where a move takes long: on the embedded store, or a slow machine.
const WIDE: Duration = Duration::from_millis(25);

/// Kills the instance at a random moment of the sign-in; another one, or the next start, brings the move to its end.
/// Returns how many rounds were killed when the account was there, and in how many of them before its answer.
fn killed_in_between(rounds: u64, setups: &[Setup], spread: Duration) -> (u64, u64) {
    let (mut created, mut between) = (0, 0);
    for round in 0..rounds {
        let gateways: Vec<Gateway> = setups.iter().cloned().map(Gateway::start).collect();
        let temp = mint(&gateways[0], "abc");
        assert_eq!(chat(&gateways[0], "abc", &temp, &small_call()).status, 200);
        let user = format!("u{round}-{}", uuid::Uuid::new_v4());
        let body = json!({"userId": user, "carryOver": temp});
        let client = gateways[0].client();
        let token = gateways[0].admin_token().to_owned();
        let signing = std::thread::spawn(move || {
            let request = client.request("POST", "/abc/auth/sessions");
            request
                .bearer(&token)
                .json(&body)
                .try_send()
                .map_or(0, |answer| answer.status)
        });
        // Every fourth round waits longer, so that a slow machine gets there too.
        let spread = if round % 4 == 1 { WIDE } else { spread };
        std::thread::sleep(spread * u32::try_from(round * 37 % 64).unwrap() / 64);
        gateways[0].kill9();
        let is_answered = signing.join().unwrap() == 200;
        let survivor = match gateways.into_iter().nth(1) {
            Some(survivor) => survivor,
            None => Gateway::start(setups[0].clone()),
        };

        let again = session(&survivor, &json!({"userId": user, "carryOver": temp}));

        assert_eq!(again.status, 200, "{}", again.text());
        let is_created = again.json()["created"] == false;
        created += u64::from(is_created);
        between += u64::from(is_created && !is_answered);
        let key = key_of(&again);
        let left = me(&survivor, &key).json()["tokensLeft"].as_u64().unwrap();
        // Either the first try had not begun to create the account, or it noted what moves.
        let all = left
            + me(&survivor, &temp).json()["tokensLeft"]
                .as_u64()
                .unwrap_or(0);
        assert_eq!(all, 1093, "round {round}: {left}");
        assert_eq!(
            left, 1093,
            "round {round}: the anonymous key kept its balance"
        );
    }
    assert!(created > 0, "no round was killed after the creation");
    (created, between)
}

fn kill_and_carry(rounds: u64) -> [(u64, u64); 3] {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let config = config(&provider);
    let yaml = "accounts: { mints_per_address: 1000000 }";
    let embedded = Setup::new().yaml(yaml).tenant("abc", config.clone());
    let alone = killed_in_between(rounds, &[embedded], WIDE);
    let redis = Redis::start();
    let two = |url: &str| {
        let setup = Setup::new()
            .yaml(yaml)
            .store(url)
            .tenant("abc", config.clone());
        [setup.clone(), setup]
    };
    // A move takes a few milliseconds there.
    let spread = Duration::from_millis(4);
    let shared = killed_in_between(rounds, &two(&redis.url()), spread);
    let cluster = Cluster::start();
    let sharded = killed_in_between(rounds, &two(&cluster.url()), spread);
    [alone, shared, sharded]
}

#[test]
fn a_killed_instance_neither_doubles_nor_loses_what_moves() {
    case("people: kill -9 while a balance is carried over", || {
        let rounds = many(8, 200);
        let created = kill_and_carry(rounds);
        format!(
            "{rounds} rounds each on the embedded store, Redis and a Cluster, of which {created:?} after the creation and before its answer; every sum exact"
        )
    });
}
