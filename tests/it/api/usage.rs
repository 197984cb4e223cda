//! Prices by model, and the usage log.

use crate::harness::{Gateway, Provider, Redis, Script, Setup, chat, eventually, me, mint, sample};
use serde_json::{Value, json};
use std::time::Duration;

fn usage(gateway: &Gateway, query: &str) -> Value {
    let path = format!("/abc/admin/usage{query}");
    let answer = gateway
        .client()
        .request("GET", &path)
        .bearer(gateway.admin_token())
        .send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn settled_request_leaves_one_record_at_its_models_rate() {
    let redis = Redis::start();
    for setup in [Setup::new(), Setup::new().store(&redis.url())] {
        let provider = Provider::start(|request| {
            if request.json()["model"] == "refused" {
                return Script::json(400, &json!({"error": {"message": "no"}}));
            }
            Script::chat("Hi", 9, 5)
        });
        let config = sample(&provider).tokens(10_000).set(
            "providers.text.rates",
            json!({"dear": {"input": 1.5, "output": 10}, "*": 0.1}),
        );
        let gateway = Gateway::start(setup.clone().tenant("abc", config.clone()));
        let (first, second) = (mint(&gateway, "abc"), mint(&gateway, "abc"));
        let ask = |key: &str, model: &str| {
            chat(
                &gateway,
                "abc",
                key,
                &json!({"model": model, "messages": [], "max_tokens": 50}),
            )
            .status
        };
        // 9 x 1.5 + 5 x 10, and (9 + 5) x 0.1, each rounded up.
        assert_eq!(
            (
                ask(&first, "dear"),
                ask(&first, "other"),
                ask(&second, "refused")
            ),
            (200, 200, 400)
        );
        let left = |key: &str| me(&gateway, key)["tokensLeft"].as_u64();
        assert_eq!(
            (left(&first), left(&second)),
            (Some(10_000 - 64 - 2), Some(10_000))
        );

        let seen = eventually(Duration::from_secs(5), "three records", || {
            let seen = usage(&gateway, "");
            (seen["total"]["requests"] == 3).then_some(seen)
        });
        assert_eq!(
            seen["total"],
            json!({"requests": 3, "tokensIn": 18, "tokensOut": 10, "tokensCached": 0, "cost": 66})
        );
        assert_eq!(seen["byModel"]["dear"]["cost"], 64);
        assert_eq!(seen["byAccount"].as_object().unwrap().len(), 2);
        assert_eq!(seen["byDay"].as_object().unwrap().len(), 1);
        // Records of two threads may be logged in either order.
        let mut events = seen["events"].as_array().unwrap().iter();
        let refused = events.find(|event| event["model"] == "refused").unwrap();
        assert_eq!(
            (
                &refused["model"],
                &refused["status"],
                &refused["cost"],
                &refused["endpoint"]
            ),
            (&json!("refused"), &json!(400), &json!(0), &json!("openai"))
        );
        assert!(!seen.to_string().contains(&first), "no key in a record");
        let account = refused["account"].as_str().unwrap().to_owned();
        assert_eq!(
            usage(&gateway, &format!("?account={account}&limit=0"))["total"]["requests"],
            1
        );
        for (query, status) in [("?days=0", 400), ("?colour=red", 400)] {
            let path = format!("/abc/admin/usage{query}");
            assert_eq!(
                gateway
                    .client()
                    .request("GET", &path)
                    .bearer(gateway.admin_token())
                    .send()
                    .status,
                status
            );
        }
        assert_eq!(
            gateway
                .client()
                .request("GET", "/abc/admin/usage")
                .bearer(&first)
                .send()
                .status,
            401
        );
        // Shutdown flushes all records, and the next process reads them.
        assert_eq!(ask(&first, "other"), 200);
        gateway.signal("TERM");
        gateway.wait_exit(Duration::from_secs(10));
        let gateway = Gateway::start(setup.tenant("abc", config));
        assert_eq!(usage(&gateway, "")["total"]["requests"], 4);
    }
}

#[test]
fn expensive_model_is_held_and_limited_at_its_rate() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider)
        .tokens(1_000)
        .set("providers.text.rates", json!({"dear": 10, "free": 0}));
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let sent = |model: &str| {
        let call = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}]});
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
        provider.requests().pop().unwrap().json()
    };

    // 1000 tokens less 10 prompt bytes at rate 10 leave 900, enough for 90 output tokens.
    assert_eq!(sent("dear")["max_tokens"], 90);
    assert_eq!(sent("free").get("max_tokens"), None);
    let me = me(&gateway, &key);
    assert_eq!(me["tokensLeft"], 980);
}

#[test]
fn calls_cost_money_where_the_tenant_has_prices() {
    let provider = Provider::start(|request| {
        let call = request.json();
        match (call["model"].as_str(), call["stream"] == true) {
            (Some("silent"), _) => Script::json(
                200,
                &json!({"choices": [{"index": 0, "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hi"}}]}),
            ),
            (_, true) => Script::chat_stream(&["Hi"], 9, 5),
            _ => Script::chat("Hi", 9, 5),
        }
    });
    let prices = json!({"currency": "EUR", "models": {"dear": {"input": 2.5, "output": 10, "cache_read": 1.25},
        "silent": {"input": 1, "output": 1}}});
    let config = sample(&provider)
        .tokens(100_000)
        .caching(20)
        .set("prices", prices);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let ask = |model: &str, stream: bool| {
        let call = json!({"model": model, "messages": [], "max_tokens": 50, "stream": stream});
        let request = gateway.client().request("POST", "/abc/v1/chat/completions");
        let answer = request
            .bearer(&key)
            .json(&call)
            .header("x-resullm-cost", "1")
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    };
    // 9 x 2.5 + 5 x 10 millionths.
    let first = ask("dear-2026-01-01", false);
    assert_eq!(
        first.header("x-resullm-cost"),
        Some("14; amount=0.0000725; currency=EUR")
    );
    let hit = ask("dear-2026-01-01", false);
    assert_eq!(
        hit.header("x-resullm-cost"),
        Some("3; amount=0.0000145; currency=EUR")
    );
    let stream = ask("dear", true);
    assert_eq!(stream.header("x-resullm-cost"), None);
    let text = stream.text();
    let told = ": x-resullm-cost: 14; amount=0.0000725; currency=EUR\n\n";
    assert!(
        text.contains(told) && text.ends_with("data: [DONE]\n\n"),
        "{text}"
    );
    assert_eq!(ask("priceless", false).header("x-resullm-cost"), Some("14"));
    let silent = ask("silent", false);
    assert!(!silent.header("x-resullm-cost").unwrap().contains("amount"));
    let unasked = chat(
        &gateway,
        "abc",
        &key,
        &json!({"model": "dear", "messages": []}),
    );
    assert_eq!(unasked.header("x-resullm-cost"), None);

    let seen = eventually(Duration::from_secs(5), "six records", || {
        let seen = usage(&gateway, "");
        (seen["total"]["requests"] == 6).then_some(seen)
    });
    assert_eq!(seen["total"]["amounts"], json!({"EUR": 0.000232}));
    assert_eq!(seen["byModel"]["priceless"].get("amounts"), None);
    let priced = seen["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["currency"] == "EUR");
    assert_eq!(priced.count(), 4);
    let request = gateway
        .client()
        .request("GET", "/abc/auth/usage")
        .bearer(&key);
    assert_eq!(
        request.send().json()["total"]["amounts"],
        json!({"EUR": 0.000232})
    );
}
