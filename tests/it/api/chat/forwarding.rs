//! Calls that succeed: what the provider gets, what the client gets back, and the charge.

use super::{hi, left, start};
use crate::harness::sample::PROVIDER_KEY;
use crate::harness::{
    CHAT_PATH, Gate, Gateway, Provider, Redis, Script, Setup, Step, chat, chat_streaming, mint,
    sample,
};
use serde_json::{Value, json};

#[test]
fn call_reaches_the_provider_and_costs_its_usage() {
    let redis = Redis::start();
    for setup in [
        Setup::new(),
        Setup::new().store(&redis.url()),
        Setup::new()
            .store(&redis.url())
            .yaml("accounts: { layout: user }"),
    ] {
        redis.cli(&["FLUSHALL"]);
        let provider = Provider::start(|_| {
            Script::chat("Hello", 9, 5)
                .header("x-ratelimit-limit-requests", "1")
                .header("openai-organization", "secret-org")
                .header("set-cookie", "a=b")
        });
        let gateway = Gateway::start(setup.tenant(
            "abc",
            sample(&provider).tokens(1000).rate_limit(10, 60).set(
                "providers.text.endpoints.openai.members",
                json!(["x-unknown"]),
            ),
        ));
        let key = mint(&gateway, "abc");
        let body = r#" {"x-unknown":{"a":[ ]} ,"model":"gpt-4o","messages":[{"role":"user","content":"H\u00e9 \ud83d\ude00"}],"max_tokens": 50,"temperature":0.10 } "#;
        let answer = gateway
            .client()
            .request("POST", CHAT_PATH)
            .bearer(&key)
            .header("cookie", "session=1")
            .header("openai-organization", "mine")
            .header("x-request-id", "my-id-1")
            .header("user-agent", "sdk/1")
            .body(body.as_bytes().to_vec())
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello");
        for (name, value) in [
            ("x-resullm-tokens-left", "986"),
            ("x-resullm-endpoint", "openai"),
            ("x-request-id", "my-id-1"),
            ("x-ratelimit-limit-requests", "10"),
            ("x-ratelimit-remaining-requests", "9"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        assert_eq!(
            (
                answer.header("openai-organization"),
                answer.header("set-cookie")
            ),
            (None, None)
        );
        assert_eq!(left(&gateway, &key), 986);

        let sent = &provider.requests()[0];
        assert_eq!(
            (sent.method.as_str(), sent.path.as_str()),
            ("POST", "/v1/chat/completions")
        );
        assert_eq!(
            sent.body,
            body.as_bytes(),
            "an untouched body leaves byte for byte"
        );
        assert_eq!(
            sent.header("authorization"),
            Some(format!("Bearer {PROVIDER_KEY}").as_str())
        );
        assert_eq!(
            (sent.header("accept-encoding"), sent.header("user-agent")),
            (Some("identity"), Some("sdk/1"))
        );
        assert_eq!(
            (
                sent.header("cookie"),
                sent.header("openai-organization"),
                sent.header("x-api-key")
            ),
            (None, None, None)
        );
        assert!(
            sent.headers.iter().all(|(_, value)| !value.contains(&key)),
            "the client's key stays here"
        );
        assert!(!answer.text().contains(PROVIDER_KEY));
    }
}

#[test]
fn key_is_read_from_every_header_and_forwarded_in_none() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider, 1000);

    for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key"] {
        let value = if name == "authorization" {
            format!("Bearer {key}")
        } else {
            key.clone()
        };
        let answer = gateway
            .client()
            .request("POST", CHAT_PATH)
            .header(name, &value)
            .json(&hi())
            .send();
        assert_eq!(answer.status, 200, "{name}");
    }
    for sent in provider.requests() {
        assert_eq!(
            sent.headers
                .iter()
                .filter(|(_, value)| value.contains("temp_"))
                .count(),
            0
        );
        let credentials = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];
        assert_eq!(
            credentials
                .iter()
                .filter(|name| sent.header(name).is_some())
                .count(),
            1
        );
    }
}

#[test]
fn every_base_url_form_answers_the_same_call() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider, 1000);

    for path in [
        "/abc/v1/chat/completions",
        "/abc/chat/completions",
        "/abc/v1/v1/chat/completions",
        "/abc/v1//chat/completions",
        "/abc/v1/chat/completions/",
        "/abc/v1/chat/completions?x=1",
    ] {
        assert_eq!(
            gateway
                .client()
                .request("POST", path)
                .bearer(&key)
                .json(&hi())
                .send()
                .status,
            200,
            "{path}"
        );
    }
    for path in [
        "/abc/v1/files",
        "/abc/v1/fine_tuning/jobs",
        "/abc/v1",
        "/abc/v1/chat",
        "/abc/v1/organization/usage",
        "/abc/v1/chat/completions/x",
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let refused = gateway
                .client()
                .request(method, path)
                .bearer(&key)
                .json(&hi())
                .send();
            assert_eq!(
                (refused.status, &refused.json()["error"]["code"]),
                (404, &json!("not_found")),
                "{method} {path}"
            );
        }
    }

    let refused = gateway
        .client()
        .request("GET", CHAT_PATH)
        .bearer(&key)
        .send();
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("POST"))
    );
    assert_eq!(provider.served(), 6);
}

#[test]
fn the_default_model_is_filled_in_and_an_endpoint_can_be_named() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let other = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider).endpoint(
        "second",
        &other.url("/deep/v2/chat/completions?api-version=1"),
        "m2",
    );
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");

    for call in [
        json!({"messages": []}),
        json!({"model": null, "messages": []}),
    ] {
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
        assert_eq!(
            provider.requests().last().unwrap().json()["model"],
            "gpt-4o"
        );
    }
    assert_eq!(
        chat(
            &gateway,
            "abc",
            &key,
            &json!({"model": "second/org/m", "messages": []})
        )
        .status,
        200
    );

    let sent = other.requests().pop().unwrap();
    assert_eq!(
        (sent.json()["model"].as_str(), sent.path.as_str()),
        (Some("org/m"), "/deep/v2/chat/completions?api-version=1")
    );
}

#[test]
fn stream_passes_chunk_by_chunk_and_is_charged_its_usage() {
    let redis = Redis::start();
    for store in [None, Some(redis.url())] {
        for (asked, split) in [(false, 0), (true, 0), (false, 1), (true, 7)] {
            redis.cli(&["FLUSHALL"]);
            let gate = Gate::new();
            let hold = gate.clone();
            let provider = Provider::start(move |_| {
                let script = Script::chat_stream(&["one ", "two ", "thrée"], 10, 3);
                if split > 0 {
                    script.split_every(split)
                } else {
                    script.after(2, Step::WaitUntilReleased(hold.clone()))
                }
            });
            let setup = store
                .iter()
                .fold(Setup::new(), |setup, url| setup.store(url));
            let gateway = Gateway::start(setup.tenant("abc", sample(&provider).tokens(1000)));
            let key = mint(&gateway, "abc");
            let mut call = json!({"stream": true, "messages": [{"role": "user", "content": "Hi"}]});
            if asked {
                call["stream_options"] = json!({"include_usage": true});
            }
            let mut stream = chat_streaming(&gateway, "abc", &key, &call);
            assert_eq!(
                (stream.status, stream.header("content-type")),
                (200, Some("text/event-stream"))
            );
            if split == 0 {
                // The first chunk arrives while the provider still holds the others back.
                stream.wait_for("one ");
                gate.open();
            }
            let text = if split == 0 {
                stream.wait_for("[DONE]")
            } else {
                stream.into_response().unwrap().text()
            };
            assert!(text.contains("thrée"), "{text}");
            assert_eq!(text.contains("\"usage\":{"), asked, "{text}");
            assert_eq!(text.contains("\"usage\":null"), asked, "{text}");
            assert_eq!(text.contains("\"choices\":[]"), asked, "{text}");
            assert!(text.trim_end().ends_with("data: [DONE]"), "{text}");
            assert_eq!(
                provider.requests()[0].json()["stream_options"]["include_usage"],
                true
            );
            assert_eq!(left(&gateway, &key), 987);
        }
    }
}

#[test]
fn models_route_lists_the_tenants_models() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider).set(
        "providers.text.endpoints.openai.models",
        json!(["m1", "org/m2"]),
    );
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let get = |path: &str| gateway.client().request("GET", path).bearer(&key).send();
    let listed = get("/abc/v1/models");

    let ids: Vec<Value> = listed.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(
        (listed.status, ids),
        (200, vec![json!("gpt-4o"), json!("m1"), json!("org/m2")])
    );
    assert_eq!(get("/abc/v1/models/org/m2").json()["owned_by"], "openai");
    assert_eq!(
        (
            get("/abc/v1/models/nobody").status,
            get("/abc/models").status
        ),
        (404, 200)
    );

    let anthropic = gateway
        .client()
        .request("GET", "/abc/v1/models")
        .header("x-api-key", &key)
        .header("anthropic-version", "2023-06-01")
        .send();
    assert_eq!(anthropic.json()["first_id"], "gpt-4o");
    assert_eq!(gateway.client().get("/abc/v1/models").status, 401);
    assert_eq!(provider.requests().len(), 0);
}
