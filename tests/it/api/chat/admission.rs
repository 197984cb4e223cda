//! Balance, holds, rate limits and settlement of a call.

use super::{hi, left, start};
use crate::harness::{
    CHAT_PATH, Gate, Gateway, Provider, Redis, Script, Setup, Step, chat, chat_streaming,
    eventually, me, mint, sample,
};
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn spent_key_gets_402_and_held_balance_gets_429() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let gate = Gate::new();
        let hold = gate.clone();
        let provider = Provider::start(move |_| {
            Script::new()
                .wait_for(&hold)
                .then(Step::Head {
                    status: 200,
                    headers: vec![("content-type".into(), "application/json".into())],
                })
                .bytes(r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":30}}"#)
        });
        let gateway = Gateway::start(setup.tenant("abc", sample(&provider).tokens(100)));
        let key = mint(&gateway, "abc");
        let waiting = {
            let (client, key) = (gateway.client(), key.clone());
            std::thread::spawn(move || {
                client
                    .request("POST", CHAT_PATH)
                    .bearer(&key)
                    .json(&hi())
                    .send()
                    .status
            })
        };
        provider.wait_requests(1);
        let held = chat(&gateway, "abc", &key, &hi());
        assert_eq!(
            (
                held.status,
                &held.json()["error"]["code"],
                held.header("retry-after")
            ),
            (429, &json!("tokens_held"), Some("1"))
        );
        gate.open();
        assert_eq!(waiting.join().unwrap(), 200);
        assert_eq!(left(&gateway, &key), 60);
        assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 200);
        assert_eq!(left(&gateway, &key), 20);
        let spent = chat(
            &gateway,
            "abc",
            &key,
            &json!({"messages": [{"role": "user", "content": "too long for what is left"}]}),
        );
        assert_eq!(
            (
                spent.status,
                &spent.json()["error"]["code"],
                &spent.json()["error"]["type"]
            ),
            (
                402,
                &json!("insufficient_tokens"),
                &json!("insufficient_quota")
            )
        );
        assert_eq!(
            (spent.header("retry-after"), spent.header("x-should-retry")),
            (None, Some("false"))
        );
        assert_eq!(provider.served(), 2);
    }
}

#[test]
fn provider_limit_never_exceeds_the_hold() {
    let provider = Provider::start(|_| Script::chat("Hi", 10, 10));
    let (gateway, key) = start(&provider, 1000);
    let sent = |call: Value| {
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
        provider.requests().pop().unwrap().json()
    };

    // "Hi" and its message frame are bounded by ten tokens; the rest of the balance is available for output.
    let open = sent(hi());
    assert_eq!(open["max_tokens"], 990);
    let within = sent(json!({"messages": [], "max_tokens": 100}));
    assert_eq!(within["max_tokens"], 100);

    let beyond = sent(json!({"messages": [], "max_completion_tokens": 5000}));
    assert_eq!(
        (&beyond["max_completion_tokens"], &beyond["max_tokens"]),
        (&json!(960), &json!(960))
    );
    let many = sent(json!({"messages": [], "max_tokens": 5000, "n": 4}));
    assert_eq!(many["max_tokens"], 235);
}

#[test]
fn rate_limit_gets_429_and_refusals_do_not_count() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
        let gateway = Gateway::start(setup.tenant("abc", sample(&provider).rate_limit(3, 2)));
        let key = mint(&gateway, "abc");
        let statuses: Vec<u16> = (0..6)
            .map(|_| chat(&gateway, "abc", &key, &hi()).status)
            .collect();
        assert_eq!(statuses, [200, 200, 200, 429, 429, 429]);
        let refused = chat(&gateway, "abc", &key, &hi());
        assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3).contains(&wait), "{wait}");
        std::thread::sleep(Duration::from_secs(wait));
        assert_eq!(
            chat(&gateway, "abc", &key, &hi()).status,
            200,
            "the wait was true"
        );
        assert_eq!(provider.served(), 4);
    }
}

#[test]
fn a_hold_lives_as_long_as_its_request() {
    let redis = Redis::start();
    let gate = Gate::new();
    let hold = gate.clone();
    // A continuous stream: the hold's heartbeat must not depend on pauses.
    let provider = Provider::start(move |_| {
        let mut script = Script::new().head(200, &[("content-type", "text/event-stream")]);
        for _ in 0..70 {
            script = script
                .bytes("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n")
                .wait(Duration::from_millis(100));
        }
        script.wait_for(&hold).bytes("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":70}}\n\ndata: [DONE]\n\n")
    });
    let setup = Setup::new()
        .store(&redis.url())
        .tenant("abc", sample(&provider).tokens(1000))
        .yaml("accounts: { hold_ttl: 5s }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "messages": []});
    let mut stream = chat_streaming(&gateway, "abc", &key, &call);
    stream.wait_for("data");
    let started = std::time::Instant::now();

    while started.elapsed() < Duration::from_millis(6_500) {
        let me = me(&gateway, &key);
        assert_eq!(
            (&me["tokensLeft"], &me["tokensFree"]),
            (&json!(1000), &json!(0)),
            "the hold is there"
        );
        std::thread::sleep(Duration::from_millis(250));
    }

    gate.open();
    stream.wait_for("[DONE]");
    assert_eq!(left(&gateway, &key), 925);
}

#[test]
fn settlements_are_retried_after_an_outage_and_count_once() {
    let redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let gate = Gate::new();
    let hold = gate.clone();
    let provider = Provider::start(move |_| {
        Script::chat_stream(&["one ", "two "], 10, 2)
            .after(2, Step::WaitUntilReleased(hold.clone()))
    });
    let gateway = Gateway::start(
        Setup::new()
            .store(&redis.url())
            .tenant("abc", sample(&provider).tokens(1000)),
    );
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "messages": []});
    let mut stream = chat_streaming(&gateway, "abc", &key, &call);
    stream.wait_for("one ");
    redis.kill();

    let refused = eventually(Duration::from_secs(5), "new calls are refused", || {
        let refused = chat(&gateway, "abc", &key, &hi());
        (refused.status == 503).then_some(refused)
    });
    assert_eq!(
        (
            refused.header("retry-after"),
            &refused.json()["error"]["code"]
        ),
        (Some("1"), &json!("store_unavailable"))
    );

    gate.open();
    stream.wait_for("[DONE]");
    gateway.wait_log("A settlement of 12 tokens waits");

    redis.restart();
    eventually(Duration::from_secs(5), "it is settled", || {
        let me = gateway
            .client()
            .request("GET", "/abc/auth/me")
            .bearer(&key)
            .send();
        (me.status == 200 && me.json()["tokensLeft"] == 988).then_some(())
    });
    assert_eq!(left(&gateway, &key), 988);
}

#[test]
fn prompt_is_counted_before_its_byte_bound_refuses_it() {
    let provider = Provider::start(|_| Script::chat("Hi", 900, 5));
    let (gateway, key) = start(&provider, 2000);
    // About 4000 bytes, about 900 tokens.
    let prose = "The quick brown fox jumps over the lazy dog. ".repeat(90);

    let call =
        |text: &str| json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]});
    assert_eq!(chat(&gateway, "abc", &key, &call(&prose)).status, 200);

    let sent = provider.requests().pop().unwrap().json();
    let limit = sent["max_tokens"].as_u64().unwrap();
    assert!((150..900).contains(&limit), "{limit}");

    // Text that may contain special tokens is not tokenised; its byte bound applies.
    let hidden = format!("{prose} image");
    assert_eq!(chat(&gateway, "abc", &key, &call(&hidden)).status, 402);
}
