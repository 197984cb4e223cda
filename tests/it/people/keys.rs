//! Keys of a person's account: made, listed, rolled, revoked, bounded.

use super::{config, key_of, me, post, session};
use crate::harness::{
    Gate, Gateway, Provider, Redis, Script, Setup, Step, chat, chat_streaming, eventually,
    small_call,
};
use resullm::rules::issued_key::KeyId;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A key that may manage its account: made by hand in the store, as a sign-in makes it.
fn managing(gateway: &Gateway, redis: &Redis, user: &str) -> String {
    let first = key_of(&session(gateway, &json!({"userId": user})));
    let person = resullm::rules::person::PersonId::derive("abc", "app", "", user);
    let id = KeyId::of(&first).to_string();
    let keys = format!("{{user:{person}}}:keys");
    let row = redis.cli(&["HGET", &keys, &id]).text();
    // The fifth field is the source: 1 is a session, 2 a key that the person made.
    let mut parts: Vec<&str> = row.splitn(7, ':').collect();
    parts[4] = "2";
    redis.cli(&["HSET", &keys, &id, &parts.join(":")]);
    first
}

fn keys(gateway: &Gateway, key: &str) -> Vec<Value> {
    let answer = gateway
        .client()
        .request("GET", "/abc/auth/keys")
        .bearer(key)
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["keys"].as_array().unwrap().clone()
}

fn answering() -> (Redis, Provider) {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    (Redis::start(), provider)
}

fn setup(provider: &Provider, redis: &Redis) -> Setup {
    Setup::new()
        .store(&redis.url())
        .tenant("abc", config(provider))
}

#[test]
fn key_is_made_listed_used_and_revoked() {
    let (redis, provider) = answering();
    let gateway = Gateway::start(setup(&provider, &redis));
    let own = managing(&gateway, &redis, "u");

    let made = post(
        &gateway,
        "/abc/auth/keys",
        &own,
        &json!({"name": "laptop", "ttl": "30d"}),
    );

    assert_eq!(made.status, 201, "{}", made.text());
    let (key, id) = (
        key_of(&made),
        made.json()["id"].as_str().unwrap().to_owned(),
    );
    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 200);
    assert_eq!(me(&gateway, &own).json()["tokensLeft"], 1000 - 7);
    let listed = keys(&gateway, &own);
    assert_eq!(listed.len(), 2);
    let laptop = listed
        .iter()
        .find(|listed| listed["id"] == json!(id))
        .unwrap();
    assert_eq!(laptop["name"], "laptop");
    assert_eq!(laptop["lastUsed"].as_str().unwrap().len(), 10);
    assert!(laptop["expiresAt"].is_string());
    let text = serde_json::to_string(&listed).unwrap();
    assert!(!text.contains(&key) && !text.contains(&own), "{text}");
    assert!(key.starts_with(laptop["start"].as_str().unwrap()));

    let path = format!("/abc/auth/keys/{id}");
    let revoke = || {
        gateway
            .client()
            .request("DELETE", &path)
            .bearer(&own)
            .send()
            .status
    };
    assert_eq!(revoke(), 200);
    assert_eq!(chat(&gateway, "abc", &key, &small_call()).status, 401);
    assert_eq!(me(&gateway, &key).status, 401);
    assert_eq!(revoke(), 404);
    assert_eq!(redis.cli(&["EXISTS", &format!("apiKey:{key}")]).int(), 0);
    assert_eq!(chat(&gateway, "abc", &own, &small_call()).status, 200);
}

#[test]
fn rolled_key_replaces_the_old_one_with_what_is_left_of_its_bound() {
    let (redis, provider) = answering();
    let gateway = Gateway::start(setup(&provider, &redis));
    let own = managing(&gateway, &redis, "u");
    let made = post(
        &gateway,
        "/abc/auth/keys",
        &own,
        &json!({"name": "ci", "tokensMax": 100, "allowedAddresses": ["127.0.0.0/8", "::1"]}),
    );
    let old = key_of(&made);
    assert_eq!(chat(&gateway, "abc", &old, &small_call()).status, 200);

    let path = format!(
        "/abc/auth/keys/{}/roll",
        made.json()["id"].as_str().unwrap()
    );
    let rolled = post(&gateway, &path, &own, &json!({}));

    assert_eq!(rolled.status, 201, "{}", rolled.text());
    assert_eq!(chat(&gateway, "abc", &old, &small_call()).status, 401);
    assert_eq!(
        chat(&gateway, "abc", &key_of(&rolled), &small_call()).status,
        200
    );
    let listed = keys(&gateway, &own);
    let new = listed
        .iter()
        .find(|listed| listed["id"] == rolled.json()["id"])
        .unwrap();
    assert_eq!(
        (&new["name"], &new["tokensMax"], &new["tokensSpent"]),
        (&json!("ci"), &json!(93), &json!(7))
    );
    assert_eq!(new["allowedAddresses"], json!(["127.0.0.0/8", "::1"]));
}

#[test]
fn bounded_keys_open_only_what_they_are_for() {
    let (redis, provider) = answering();
    let gateway = Gateway::start(setup(&provider, &redis));
    let own = managing(&gateway, &redis, "u");
    let elsewhere = key_of(&post(
        &gateway,
        "/abc/auth/keys",
        &own,
        &json!({"allowedAddresses": ["192.0.2.7"]}),
    ));

    let refused = chat(&gateway, "abc", &elsewhere, &small_call());

    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (403, &json!("address_not_allowed"))
    );
    assert_eq!(provider.served(), 0);
    assert_eq!(
        me(&gateway, &own).json()["tokensFree"],
        1000,
        "nothing stays held"
    );
    for wrong in [
        json!({"name": "x".repeat(101)}),
        json!({"name": "a\nb"}),
        json!({"allowedAddresses": []}),
        json!({"allowedAddresses": ["everywhere"]}),
        json!({"models": []}),
        json!({"ttl": "-1s"}),
        json!({"source": "signIn"}),
    ] {
        let answer = post(&gateway, "/abc/auth/keys", &own, &wrong);
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
    for at in 0..98 {
        let made = post(&gateway, "/abc/auth/keys", &own, &json!({}));
        assert_eq!(made.status, 201, "{at}: {}", made.text());
    }
    assert_eq!(
        post(&gateway, "/abc/auth/keys", &own, &json!({})).status,
        409
    );
}

/// A key's bound holds under concurrency over instances as a balance does.
#[test]
fn key_bound_is_exact_over_three_instances() {
    let (redis, served) = (Redis::start(), Arc::new(AtomicU64::new(0)));
    let counted = served.clone();
    let provider = Provider::start(move |request| {
        let limit = request.json()["max_tokens"]
            .as_u64()
            .unwrap_or(1_000_000)
            .min(3);
        counted.fetch_add(1 + limit, Ordering::SeqCst);
        Script::chat(&"x ".repeat(limit as usize), 1, limit)
    });
    let setup = setup(&provider, &redis);
    let gateways: Vec<Gateway> = (0..3).map(|_| Gateway::start(setup.clone())).collect();
    let answer = session(&gateways[0], &json!({"userId": "u", "tokens": 100}));
    let key = key_of(&answer);

    std::thread::scope(|scope| {
        for at in 0..30 {
            let (gateway, key) = (&gateways[at % 3], &key);
            scope.spawn(move || {
                for _ in 0..20 {
                    let status = chat(gateway, "abc", key, &small_call()).status;
                    assert!([200, 402, 429].contains(&status), "{status}");
                }
            });
        }
    });

    let served = served.load(Ordering::SeqCst);
    assert!((80..=100).contains(&served), "{served}");
    let shown = me(&gateways[0], &key).json();
    assert_eq!(shown["tokensSpent"], served);
    assert_eq!(shown["tokensLeft"], 1000 - served);
}

/// The key that another is rolled into may not spend what calls of that one hold.
#[test]
fn rolling_during_a_call_leaves_the_bound_whole() {
    let (redis, gate) = (Redis::start(), Gate::new());
    let held = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat("Hi", 3, 80).first(Step::WaitUntilReleased(held.clone()))
    });
    let gateway = Gateway::start(setup(&provider, &redis));
    let own = managing(&gateway, &redis, "u");
    let made = post(&gateway, "/abc/auth/keys", &own, &json!({"tokensMax": 200}));
    let (key, id) = (
        key_of(&made),
        made.json()["id"].as_str().unwrap().to_owned(),
    );
    let call = json!({"max_tokens": 80, "messages": [{"role": "user", "content": "Hi"}]});

    let rolled = std::thread::scope(|scope| {
        let under_way = scope.spawn(|| chat(&gateway, "abc", &key, &call).status);
        provider.wait_requests(1);
        let rolled = post(
            &gateway,
            &format!("/abc/auth/keys/{id}/roll"),
            &own,
            &json!({}),
        );
        gate.open();
        under_way.join().unwrap();
        rolled
    });

    let most = me(&gateway, &key_of(&rolled)).json()["tokensMax"]
        .as_u64()
        .unwrap();
    assert!(most <= 120, "{most}");
}

/// A revoked key is refused within a second on the other instance too, and its stream ends within two.
#[test]
fn revoked_key_and_its_stream_end_on_another_instance() {
    let (redis, gate) = (Redis::start(), Gate::new());
    let held = gate.clone();
    let provider = Provider::start(move |request| match request.json()["stream"] == true {
        true => Script::chat_stream(&["one", "two"], 3, 4)
            .after(2, Step::WaitUntilReleased(held.clone())),
        false => Script::chat("Hi", 3, 4),
    });
    let setup = setup(&provider, &redis);
    let [here, there] = [Gateway::start(setup.clone()), Gateway::start(setup)];
    let own = managing(&here, &redis, "u");
    let made = post(&here, "/abc/auth/keys", &own, &json!({}));
    let (key, id) = (
        key_of(&made),
        made.json()["id"].as_str().unwrap().to_owned(),
    );
    // Busy enough for a lease on the other instance.
    for _ in 0..20 {
        assert_eq!(chat(&there, "abc", &key, &small_call()).status, 200);
    }
    let mut call = small_call();
    call["stream"] = json!(true);
    let mut stream = chat_streaming(&there, "abc", &key, &call);
    stream.wait_for("one");
    std::thread::sleep(Duration::from_millis(1_200));

    let path = format!("/abc/auth/keys/{id}");
    assert_eq!(
        here.client()
            .request("DELETE", &path)
            .bearer(&own)
            .send()
            .status,
        200
    );
    let revoked = Instant::now();

    let refused = eventually(Duration::from_secs(10), "the key is refused", || {
        (chat(&there, "abc", &key, &small_call()).status == 401).then(|| revoked.elapsed())
    });
    assert!(refused < Duration::from_secs(2), "{refused:?}");
    let ended = stream.into_response();
    assert!(
        revoked.elapsed() < Duration::from_secs(5),
        "{:?}",
        revoked.elapsed()
    );
    let text = ended.unwrap().text();
    assert!(text.contains("was revoked"), "{text}");
    gate.open();
}
