//! Providers that refuse, are unreachable, answer late or break off, and clients that leave.

use super::{hi, left, start};
use crate::harness::{
    Gateway, Provider, Redis, Script, Setup, Step, balance, chat, chat_streaming, eventually, me,
    mint, sample, sample_at,
};
use serde_json::json;
use std::time::Duration;

#[test]
fn provider_refusal_costs_nothing_and_its_401_becomes_502() {
    for (status, expected) in [
        (400, 400),
        (404, 404),
        (422, 422),
        (429, 429),
        (500, 500),
        (503, 503),
        (401, 502),
        (403, 502),
    ] {
        let body = json!({"error": {"message": "no", "type": "t", "param": null, "code": "c"}});
        let provider = Provider::start(move |_| Script::json(status, &body));
        let (gateway, key) = start(&provider, 1000);
        let answer = chat(&gateway, "abc", &key, &hi());
        assert_eq!(answer.status, expected, "{}", answer.text());
        assert!(answer.json()["error"]["message"].is_string());
        assert_eq!(left(&gateway, &key), 1000);
        if expected == 502 {
            gateway.wait_log("[ERROR] Provider refused the gateway");
        } else {
            // A provider's 429 concerns the operator's account, not the caller's rate limit.
            let code = if status == 429 {
                "provider_rate_limited"
            } else {
                "c"
            };
            assert_eq!(answer.json()["error"]["code"], code);
        }
    }
}

#[test]
fn unreachable_provider_is_502_and_costs_nothing() {
    let gone = Provider::start(|_| Script::new().stall());
    let url = gone.url("/v1/chat/completions");
    drop(gone);
    let cutting = Provider::start(|_| Script::new().cut());
    let config = sample(&cutting).endpoint("gone", &url, "m");
    let gateway = Gateway::start(Setup::new().tenant("abc", config.tokens(1000)));
    let key = mint(&gateway, "abc");

    for model in ["gone/m", "openai/m"] {
        let answer = chat(
            &gateway,
            "abc",
            &key,
            &json!({"model": model, "messages": []}),
        );
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (502, &json!("provider_failed")),
            "{model}"
        );
        assert_eq!(left(&gateway, &key), 1000);
    }

    let silent = Provider::start(|_| Script::new().stall());
    let setup = Setup::new()
        .tenant("abc", sample(&silent).tokens(1000))
        .yaml("upstream: { first_byte_timeout: 1s, drain: 1s }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    let call = json!({"max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]});
    let answer = chat(&gateway, "abc", &key, &call);
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (504, &json!("provider_timeout"))
    );

    // The provider may be reasoning and will never report usage.
    let charged = eventually(Duration::from_secs(5), "the hold is charged", || {
        let (left, free) = balance(&gateway, &key);
        (left == free && left < 1000).then_some(1000 - left)
    });
    assert!((100..150).contains(&charged), "{charged}");
}

#[test]
fn late_answer_is_charged_its_usage() {
    let provider = Provider::start(|_| {
        Script::chat("Hello", 9, 500).first(Step::Wait(Duration::from_millis(2_500)))
    });
    let setup = Setup::new()
        .tenant("abc", sample(&provider).tokens(2000))
        .yaml("upstream: { first_byte_timeout: 1s }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");

    let answer = chat(&gateway, "abc", &key, &hi());

    assert_eq!(answer.status, 504);
    eventually(Duration::from_secs(5), "its usage is charged", || {
        (balance(&gateway, &key) == (2000 - 509, 2000 - 509)).then_some(())
    });
}

#[test]
fn private_address_is_refused_unless_allowed() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let url = provider
        .url("/v1/chat/completions")
        .replace("http:", "https:");
    let gateway = Gateway::start(
        Setup::new()
            .tenant("abc", sample_at(&url))
            .allow_private(false),
    );
    let key = mint(&gateway, "abc");

    let refused = chat(&gateway, "abc", &key, &hi());

    assert_eq!(refused.status, 502);
    gateway.wait_log("private address");
    assert_eq!(provider.connections(), 0);
}

#[test]
fn truncated_stream_ends_with_an_error_event() {
    for script in [
        Script::sse(["{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"po\"}}]}"]),
        Script::chat_stream(&["one ", "two "], 10, 2).after(2, Step::Cut),
    ] {
        let provider = Provider::start(move |_| script.clone());
        let config = sample(&provider).tokens(1000).server("openai", "openai");
        let gateway = Gateway::start(Setup::new().tenant("abc", config));
        let key = mint(&gateway, "abc");
        let call = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
        let stream = chat_streaming(&gateway, "abc", &key, &call);
        assert_eq!(stream.status, 200);
        let text = stream.into_response().unwrap().text();
        assert!(
            text.contains("event: error\ndata: {\"error\":{") && !text.contains("[DONE]"),
            "{text}"
        );
        let left = left(&gateway, &key);
        assert!(
            left < 1000 && left > 900,
            "charged for what was delivered: {left}"
        );
    }
}

#[test]
fn disconnected_client_pays_what_was_generated() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let provider = Provider::start(|_| {
            Script::chat_stream(&["one two three four five six seven eight "; 4], 10, 40)
                .after(3, Step::Stall)
        });
        let config = sample(&provider).tokens(1000).server("openai", "openai");
        let gateway = Gateway::start(setup.tenant("abc", config));
        let key = mint(&gateway, "abc");
        let call = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
        let mut stream = chat_streaming(&gateway, "abc", &key, &call);
        stream.wait_for("eight");
        drop(stream);
        provider.wait_left(0);
        let charged = eventually(Duration::from_secs(2), "it is settled", || {
            let me = me(&gateway, &key);
            (me["tokensLeft"] == me["tokensFree"])
                .then(|| 1000 - me["tokensLeft"].as_u64().unwrap())
        });
        // Sixteen words, the prompt and the message frames.
        assert!((16..=90).contains(&charged), "{charged}");
    }
}
