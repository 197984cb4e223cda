//! `max_concurrent` of a group: bound for the calls of one account in flight on all instances together.

use crate::harness::{
    Gate, Gateway, Provider, Redis, Script, Setup, Step, chat, eventually, mint, sample,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn call(stream: bool) -> Value {
    json!({"model": "m", "max_tokens": 20, "stream": stream,
        "messages": [{"role": "user", "content": "Hi"}]})
}

fn limited(provider: &Provider, most: u64) -> Value {
    let config = sample(provider).set("user_groups.anonymous.max_concurrent", json!(most));
    config.tokens(1_000_000).into()
}

#[test]
fn call_above_max_concurrent_gets_429_until_another_ends() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let gate = Gate::new();
        let held = gate.clone();
        let provider = Provider::start(move |_| {
            Script::chat("one", 9, 1).first(Step::WaitUntilReleased(held.clone()))
        });
        let gateway = Gateway::start(setup.tenant("abc", limited(&provider, 2)));
        let (key, other) = (mint(&gateway, "abc"), mint(&gateway, "abc"));
        std::thread::scope(|scope| {
            let call = |key| {
                let gateway = &gateway;
                scope.spawn(move || chat(gateway, "abc", key, &call(false)).status)
            };
            let mut under_way = vec![call(&key), call(&key)];
            provider.wait_requests(2);
            let refused = chat(&gateway, "abc", &key, &self::call(false));
            assert_eq!(refused.status, 429, "{}", refused.text());
            assert_eq!(refused.json()["error"]["code"], "too_many_in_flight");
            assert_eq!(refused.header("retry-after"), Some("1"));
            under_way.push(call(&other));
            provider.wait_requests(3);
            gate.open();
            for answer in under_way {
                assert_eq!(answer.join().unwrap(), 200);
            }
        });
        assert_eq!(chat(&gateway, "abc", &key, &call(false)).status, 200);
        assert_eq!(provider.served(), 4, "the refused one was not forwarded");
    }
}

/// The slot is free when the client has the complete response.
#[test]
fn sequential_calls_never_reach_max_concurrent() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let provider = Provider::start(|asked| match asked.json()["stream"].as_bool() {
            Some(true) => Script::chat_stream(&["one", "two"], 9, 2),
            _ => Script::chat("one two", 9, 2),
        });
        let gateway = Gateway::start(setup.tenant("abc", limited(&provider, 1)));
        let key = mint(&gateway, "abc");
        let client = gateway.client();
        let mut connection = client.connect();
        for turn in 0..200 {
            let ask = connection.request("POST", "/abc/v1/chat/completions");
            let answer = ask.bearer(&key).json(&call(turn % 2 == 0)).send();
            assert_eq!(answer.status, 200, "call {turn}: {}", answer.text());
        }
    }
}

#[test]
fn disconnected_client_frees_its_slot() {
    let provider = Provider::start(|_| Script::chat_stream(&["one"], 9, 2).after(2, Step::Stall));
    let mut config = limited(&provider, 1);
    config["providers"]["text"]["endpoints"]["openai"]["server"] = json!("openai");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let mut call = call(true);
    call["model"] = json!("gpt-4o");
    let ask = || {
        let request = gateway.client().request("POST", "/abc/v1/chat/completions");
        request.bearer(&key).json(&call).send_streaming()
    };
    let mut first = ask();
    first.wait_for("one");

    assert_eq!(ask().status, 429);

    drop(first);
    eventually(Duration::from_secs(10), "its place is free", || {
        (ask().status == 200).then_some(())
    });
}

#[test]
fn max_concurrent_counts_over_two_instances() {
    const MOST: usize = 3;
    let redis = Redis::start();
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, highest) = (now.clone(), peak.clone());
    let provider = Provider::start(move |_| {
        highest.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        inside.fetch_sub(1, Ordering::SeqCst);
        Script::chat("one", 9, 1)
    });
    let config = limited(&provider, MOST as u64);
    let start = || {
        Gateway::start(
            Setup::new()
                .store(&redis.url())
                .tenant("abc", config.clone()),
        )
    };
    let gateways = [start(), start()];
    let key = mint(&gateways[0], "abc");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..12)
            .map(|n| {
                let (gateway, key) = (&gateways[n % 2], &key);
                let calls = move || (0..40).map(|_| chat(gateway, "abc", key, &call(false)).status);
                scope.spawn(move || calls().collect::<Vec<u16>>())
            })
            .collect();
        let answers = callers.into_iter().map(|caller| caller.join().unwrap());
        answers.flatten().collect()
    });
    let count = |status| statuses.iter().filter(|each| **each == status).count();

    assert_eq!(count(200) + count(429), statuses.len(), "{statuses:?}");
    assert!(count(429) > 0 && count(200) > MOST, "{statuses:?}");
    assert_eq!(peak.load(Ordering::SeqCst), MOST);
    assert_eq!(provider.served(), count(200));
}
