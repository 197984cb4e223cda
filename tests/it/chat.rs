//! `POST chat/completions`: forwarded, metered, charged; refused as its SDKs expect.

use crate::harness::sample::PROVIDER_KEY;
use crate::harness::{
    Gate, Gateway, Provider, Redis, Script, Setup, Step, balance, chat, eventually, mint, raw_for,
    sample, sample_at,
};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/abc/v1/chat/completions";

fn hi() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]})
}

fn left(gateway: &Gateway, key: &str) -> u64 {
    let (left, free) = balance(gateway, key);
    assert_eq!(left, free, "no hold is left");
    left
}

fn start(provider: &Provider, tokens: u64) -> (Gateway, String) {
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(provider).tokens(tokens)));
    let key = mint(&gateway, "abc");
    (gateway, key)
}

#[test]
fn a_call_reaches_the_provider_with_its_key_and_costs_what_the_answer_says() {
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
            .request("POST", PATH)
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
fn a_key_is_taken_from_every_header_and_none_of_them_goes_on() {
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
            .request("POST", PATH)
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
fn the_same_call_answers_however_the_base_url_was_set() {
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
    let refused = gateway.client().request("GET", PATH).bearer(&key).send();
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
fn a_stream_passes_chunk_by_chunk_and_its_usage_is_charged() {
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
            let mut stream = gateway
                .client()
                .request("POST", PATH)
                .bearer(&key)
                .json(&call)
                .send_streaming();
            assert_eq!(
                (stream.status, stream.header("content-type")),
                (200, Some("text/event-stream"))
            );
            if split == 0 {
                // The first chunk is here while the provider still holds back the others.
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
fn spent_is_402_and_held_is_429_and_neither_reaches_the_provider() {
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
                    .request("POST", PATH)
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
fn a_provider_is_never_asked_for_more_than_is_paid_for() {
    let provider = Provider::start(|_| Script::chat("Hi", 10, 10));
    let (gateway, key) = start(&provider, 1000);
    let sent = |call: Value| {
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 200);
        provider.requests().pop().unwrap().json()
    };
    // "Hi" and its frame are ten bytes; the rest of the balance is what an answer may have.
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
fn too_fast_is_429_with_a_true_wait_and_refusals_do_not_count() {
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
fn what_a_provider_refuses_costs_nothing_and_its_refusal_of_us_is_not_the_users() {
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
            // A limit of the operator's is not taken for the caller's own.
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
fn a_provider_that_is_away_or_breaks_off_is_502_and_costs_nothing() {
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
    // It may be thinking. Nobody will ever say how much.
    let charged = eventually(Duration::from_secs(5), "the hold is charged", || {
        let (left, free) = balance(&gateway, &key);
        (left == free && left < 1000).then_some(1000 - left)
    });
    assert!((100..150).contains(&charged), "{charged}");
}

#[test]
fn an_answer_that_comes_too_late_costs_what_it_says() {
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
fn a_private_address_is_not_reached_unless_the_operator_says_so() {
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
fn a_stream_that_ends_without_its_end_says_so_in_band() {
    for script in [
        Script::sse(["{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"po\"}}]}"]),
        Script::chat_stream(&["one ", "two "], 10, 2).after(2, Step::Cut),
    ] {
        let provider = Provider::start(move |_| script.clone());
        let config = sample(&provider).tokens(1000).server("openai", "openai");
        let gateway = Gateway::start(Setup::new().tenant("abc", config));
        let key = mint(&gateway, "abc");
        let call = json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
        let stream = gateway
            .client()
            .request("POST", PATH)
            .bearer(&key)
            .json(&call)
            .send_streaming();
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
fn a_client_that_leaves_pays_for_what_was_generated_and_the_provider_is_let_go() {
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
        let mut stream = gateway
            .client()
            .request("POST", PATH)
            .bearer(&key)
            .json(&call)
            .send_streaming();
        stream.wait_for("eight");
        drop(stream);
        provider.wait_left(0);
        let charged = eventually(Duration::from_secs(2), "it is settled", || {
            let me = gateway
                .client()
                .request("GET", "/abc/auth/me")
                .bearer(&key)
                .send()
                .json();
            (me["tokensLeft"] == me["tokensFree"])
                .then(|| 1000 - me["tokensLeft"].as_u64().unwrap())
        });
        // Sixteen words, the prompt, and what frames them.
        assert!((16..=90).contains(&charged), "{charged}");
    }
}

#[test]
fn a_hold_lives_as_long_as_its_request() {
    let redis = Redis::start();
    let gate = Gate::new();
    let hold = gate.clone();
    // Chunks that never stop: a heartbeat must not wait for silence.
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
    let mut stream = gateway
        .client()
        .request("POST", PATH)
        .bearer(&key)
        .json(&call)
        .send_streaming();
    stream.wait_for("data");
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_millis(6_500) {
        let me = gateway
            .client()
            .request("GET", "/abc/auth/me")
            .bearer(&key)
            .send()
            .json();
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
fn settlements_wait_for_a_store_that_is_away_and_count_once() {
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
    let mut stream = gateway
        .client()
        .request("POST", PATH)
        .bearer(&key)
        .json(&call)
        .send_streaming();
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
fn bad_bodies_are_refused_with_a_sentence_and_cost_nothing() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let setup = Setup::new()
        .tenant("abc", sample(&provider).tokens(1000))
        .yaml("server: { max_body: 1KiB }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");
    for body in [
        "",
        "nonsense",
        "[]",
        "{\"model\":1}",
        "{\"model\":\"a\",\"model\":\"b\"}",
        "{\"stream\":\"yes\"}",
        "{\"max_tokens\":-5}",
    ] {
        let refused = gateway
            .client()
            .request("POST", PATH)
            .bearer(&key)
            .body(body.as_bytes().to_vec())
            .send();
        assert_eq!(
            (refused.status, &refused.json()["error"]["code"]),
            (400, &json!("invalid_body")),
            "{body}"
        );
    }
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(2000)}]});
    let refused = chat(&gateway, "abc", &key, &long);
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (413, &json!("body_too_large"))
    );
    let chunks = long.to_string();
    let chunks: Vec<&[u8]> = chunks.as_bytes().chunks(300).collect();
    let refused = gateway
        .client()
        .request("POST", PATH)
        .bearer(&key)
        .chunked(&chunks)
        .send();
    assert_eq!(refused.status, 413);
    for key in ["", "temp_nobody"] {
        assert_eq!(chat(&gateway, "abc", key, &hi()).status, 401);
    }
    let none = gateway.client().request("POST", PATH).json(&hi()).send();
    assert_eq!(
        (
            none.status,
            &none.json()["error"]["code"],
            none.header("www-authenticate")
        ),
        (401, &json!("invalid_api_key"), Some("Bearer"))
    );
    assert_eq!((provider.served(), left(&gateway, &key)), (0, 1000));
}

#[test]
fn bodies_of_every_size_and_framing_arrive_whole() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider, 9_000_000_000_000_000);
    for size in [10, 4_000, 65_536, 70_000, 1_000_000, 20_000_000] {
        let call =
            json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "y".repeat(size)}], "max_tokens": 5})
                .to_string();
        let answer = gateway
            .client()
            .request("POST", PATH)
            .bearer(&key)
            .body(call.clone())
            .send();
        assert_eq!(answer.status, 200, "{size}");
        assert_eq!(provider.requests().pop().unwrap().body, call.as_bytes());
        let chunks: Vec<&[u8]> = call.as_bytes().chunks(50_000).collect();
        assert_eq!(
            gateway
                .client()
                .request("POST", PATH)
                .bearer(&key)
                .chunked(&chunks)
                .send()
                .status,
            200,
            "{size} chunked"
        );
        assert_eq!(provider.requests().pop().unwrap().body, call.as_bytes());
        let expecting = gateway
            .client()
            .request("POST", PATH)
            .bearer(&key)
            .body(call.clone())
            .expect_continue()
            .send();
        assert_eq!(
            (expecting.status, expecting.continued),
            (200, true),
            "{size} after 100-continue"
        );
    }
}

#[test]
fn connections_are_kept_on_both_sides() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider, 1_000_000);
    let mut connection = gateway.client().connect();
    for _ in 0..20 {
        assert_eq!(
            connection
                .request("POST", PATH)
                .bearer(&key)
                .json(&hi())
                .send()
                .status,
            200
        );
        assert_eq!(
            connection
                .request("GET", "/abc/auth/me")
                .bearer(&key)
                .send()
                .status,
            200
        );
        assert_eq!(
            connection
                .request("GET", "/abc/auth/me")
                .bearer("temp_x")
                .send()
                .status,
            401
        );
    }
    assert!(connection.is_open());
    assert_eq!(provider.connections(), 1);
}

#[test]
fn an_early_reply_never_leaves_a_body_to_be_taken_for_a_request() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider, 1000);
    let smuggled = "GET /abc/auth/me HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        format!(
            "POST /nobody/v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "POST /abc/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "PUT /abc/admin/config HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 99999999999\r\n\r\n"
        ),
        format!(
            "POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
    ] {
        let answer = raw_for(
            gateway.addr(),
            format!("{head}{smuggled}").as_bytes(),
            Duration::from_secs(4),
        );
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{head}\n{text}");
        assert!(text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert_eq!(provider.served(), 0);
}

#[test]
fn a_prompt_is_counted_before_it_is_refused_for_its_bytes() {
    let provider = Provider::start(|_| Script::chat("Hi", 900, 5));
    let (gateway, key) = start(&provider, 2000);
    // Some four thousand bytes, and some nine hundred tokens.
    let prose = "The quick brown fox jumps over the lazy dog. ".repeat(90);
    let call =
        |text: &str| json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]});
    assert_eq!(chat(&gateway, "abc", &key, &call(&prose)).status, 200);
    let sent = provider.requests().pop().unwrap().json();
    let limit = sent["max_tokens"].as_u64().unwrap();
    assert!((150..900).contains(&limit), "{limit}");
    // What stands for more than its letters is not counted by its letters.
    let hidden = format!("{prose} image");
    assert_eq!(chat(&gateway, "abc", &key, &call(&hidden)).status, 402);
}

#[test]
fn the_tenants_models_are_listed_and_not_the_providers() {
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
