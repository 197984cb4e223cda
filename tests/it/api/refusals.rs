//! Refused calls: they cost only the caller's own rate limit, and their errors name no operator account.

use crate::harness::{Gateway, Provider, Redis, Script, Setup, balance, chat, mint, sample};
use serde_json::{Value, json};

/// A prompt that exceeds the key's balance by its byte bound and also by its token count.
fn too_long() -> Value {
    let text = "a9b8c7d6 ".repeat(27_000);
    json!({"model": "m", "messages": [{"role": "user", "content": text}]})
}

fn hi() -> Value {
    json!({"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "Hi"}]})
}

fn for_both_stores(check: impl Fn(Setup)) {
    check(Setup::new());
    let redis = Redis::start();
    check(Setup::new().store(&redis.url()));
}

#[test]
fn endlessly_refused_key_gets_429_and_delays_no_other() {
    for_both_stores(|setup| {
        let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
        let gateway = Gateway::start(setup.tenant("abc", sample(&provider).tokens(30_000)));
        let (greedy, other) = (mint(&gateway, "abc"), mint(&gateway, "abc"));
        let body = too_long();

        let mut refused = 0;
        let told = loop {
            let answer = chat(&gateway, "abc", &greedy, &body);
            match answer.status {
                402 if refused < 200 => refused += 1,
                _ => break answer,
            }
        };

        assert_eq!(told.status, 429, "{}", told.text());
        assert_eq!(told.json()["error"]["code"], "too_many_refused");
        let wait: u64 = told.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=5).contains(&wait), "{wait}");
        assert!((5..200).contains(&refused), "{refused}");
        assert_eq!(chat(&gateway, "abc", &other, &body).status, 402);
        assert_eq!(chat(&gateway, "abc", &other, &hi()).status, 200);
        assert_eq!(balance(&gateway, &greedy), (30_000, 30_000));
        std::thread::sleep(std::time::Duration::from_secs(wait));
        assert_eq!(chat(&gateway, "abc", &greedy, &hi()).status, 200);
    });
}

/// An unknown key gets 401 whatever its body says; the body is not counted for any key.
#[test]
fn unknown_key_gets_401_before_any_other_error() {
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let stranger = "temp_00000000-0000-4000-8000-000000000000";

    for body in [
        json!({"messages": 1}),
        json!({"model": "m", "tools": "x"}),
        hi(),
    ] {
        assert_eq!(chat(&gateway, "abc", stranger, &body).status, 401, "{body}");
    }
}

/// The longest text that is tokenised at all is charged by its tokens, on whichever thread that is done.
#[test]
fn long_answer_without_usage_costs_its_counted_tokens() {
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(4_000);
    let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": text},
        "finish_reason": "stop"}]});
    let provider = Provider::start(move |_| Script::json(200, &answer));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1_000_000)));
    let key = mint(&gateway, "abc");
    let mut call = hi();
    call["max_tokens"] = json!(200_000);

    assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);

    let (left, free) = balance(&gateway, &key);
    let charged = 1_000_000 - left;
    assert_eq!(left, free);
    assert!((40_000..100_000).contains(&charged), "{charged}");
}

/// A provider's 429 concerns the operator's account: it gets the code `provider_rate_limited` and names
/// nobody.
#[test]
fn provider_rate_limit_has_its_own_code_and_names_no_account() {
    let message = "Rate limit reached for gpt-4o in organization org-Ab12Cd34Ef on tokens per min. Limit 30000";
    let body = json!({"error": {"message": message, "type": "tokens", "param": null, "code": "rate_limit_exceeded"}});
    let provider = Provider::start(move |_| {
        let body = body.to_string();
        Script::new()
            .head(
                429,
                &[("content-type", "application/json"), ("retry-after", "7")],
            )
            .bytes(body)
    });
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1_000)));
    let key = mint(&gateway, "abc");

    let answer = chat(&gateway, "abc", &key, &hi());

    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("7"))
    );
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "provider_rate_limited");
    assert_eq!(error["type"], "rate_limit_error");
    let said = error["message"].as_str().unwrap();
    assert!(
        said.contains("Limit 30000") && !said.contains("Ab12"),
        "{said}"
    );
    assert_eq!(balance(&gateway, &key), (1_000, 1_000));
}

#[test]
fn stream_errors_name_no_operator_account_and_no_host() {
    let said = "organization org-Ab12Cd34Ef at http://127.0.0.1/v1 has no credit";
    let error = json!({"error": {"message": said, "organization": "acme", "code": 1}});
    let provider = Provider::start(move |_| Script::sse([error.to_string(), "[DONE]".to_owned()]));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1_000)));
    let key = mint(&gateway, "abc");
    let mut call = hi();
    call["stream"] = json!(true);

    let text = chat(&gateway, "abc", &key, &call).text();

    assert!(text.contains("has no credit"), "{text}");
    for name in ["Ab12", "acme", "127.0.0.1"] {
        assert!(!text.contains(name), "{text}");
    }
}

#[test]
fn provider_errors_name_no_operator_account() {
    let body =
        json!({"error": {"message": "Project proj_abcdef123456 has no access to the model"}});
    let provider = Provider::start(move |_| Script::json(404, &body));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1_000)));
    let key = mint(&gateway, "abc");

    let answer = chat(&gateway, "abc", &key, &hi());

    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("no access"), "{}", answer.text());
    assert!(!answer.text().contains("abcdef"), "{}", answer.text());
}

#[test]
fn stream_cut_at_its_hold_is_logged() {
    let words = "word ".repeat(50);
    let events: Vec<String> = (0..200)
        .map(|_| json!({"choices": [{"index": 0, "delta": {"content": words}}]}).to_string())
        .collect();
    let provider = Provider::start(move |_| Script::sse(events.iter().map(String::as_str)));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1_000)));
    let key = mint(&gateway, "abc");
    let mut call = hi();
    call["stream"] = json!(true);

    let answer = chat(&gateway, "abc", &key, &call);

    assert!(
        answer.text().contains("provider_failed"),
        "{}",
        answer.text()
    );
    let line = gateway.wait_log("sends more than it was asked for");
    assert!(line.contains("tenant=abc request="), "{line}");
    assert!(line.contains("are held"), "{line}");
}

/// All accounts are one customer at the provider: a `prompt_cache_key` of one account must not hit another's
/// cache.
#[test]
fn prompt_cache_key_is_bound_to_its_account() {
    let calls = [
        ("chat/completions", hi()),
        (
            "completions",
            json!({"model": "m", "prompt": "Hi", "max_tokens": 5}),
        ),
        ("embeddings", json!({"model": "m", "input": "Hi"})),
    ];
    for (path, mut call) in calls {
        let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
        let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
        let keys = [mint(&gateway, "abc"), mint(&gateway, "abc")];
        call["prompt_cache_key"] = json!("mine");

        for key in [&keys[0], &keys[0], &keys[1]] {
            let request = gateway.client().request("POST", &format!("/abc/v1/{path}"));
            assert_eq!(request.bearer(key).json(&call).send().status, 200, "{path}");
        }

        let named: Vec<Value> = provider
            .requests()
            .iter()
            .map(|request| request.json()["prompt_cache_key"].clone())
            .collect();
        assert_eq!(named[0], named[1], "{path}");
        assert_ne!(named[0], named[2], "{path}");
        let is_own = |name: &Value| name.as_str().is_some_and(|name| name != "mine");
        assert!(named.iter().all(is_own), "{path}");
    }
}

#[test]
fn moderation_costs_tokens_where_it_is_billed() {
    let answer = json!({"id": "m", "results": [{"flagged": false}], "usage": {"prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}});
    let provider = Provider::start(move |_| Script::json(200, &answer));
    for (server, cost) in [("mistral", 8), ("openai", 0)] {
        let config = sample(&provider).tokens(1_000).server("openai", server);
        let gateway = Gateway::start(Setup::new().tenant("abc", config));
        let key = mint(&gateway, "abc");
        let client = gateway.client();
        let request = client.request("POST", "/abc/v1/moderations").bearer(&key);

        let answer = request.json(&json!({"model": "m", "input": "abc"})).send();

        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(balance(&gateway, &key).0, 1_000 - cost, "{server}");
    }
}
