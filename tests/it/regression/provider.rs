//! Answers of providers, and clients that leave before or within them.

use super::hi;
use crate::harness::{
    CHAT_PATH, Gateway, Provider, Script, Setup, Step, balance, chat, chat_streaming, eventually,
    mint, raw_for, sample,
};
use serde_json::json;
use std::time::Duration;

#[test]
fn provider_that_ignores_its_limit_is_cut_off() {
    let provider = Provider::start(|_| {
        let chunk = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n",
            "x".repeat(10_000)
        );
        let mut script = Script::new().head(200, &[("content-type", "text/event-stream")]);
        for _ in 0..200 {
            script = script.bytes(chunk.clone());
        }
        script.stall()
    });
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(200)));
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "max_tokens": 50, "messages": []});

    let text = gateway
        .client()
        .request("POST", CHAT_PATH)
        .bearer(&key)
        .json(&call)
        .send()
        .text();
    assert!(
        text.contains("event: error") && text.len() < 100_000,
        "{} bytes",
        text.len()
    );
    provider.wait_left(0);
}

#[test]
fn stalled_client_does_not_delay_the_shutdown() {
    let provider = Provider::start(|_| {
        let chunk = format!(": {}\n\n", "x".repeat(100_000));
        let mut script = Script::new().head(200, &[("content-type", "text/event-stream")]);
        for _ in 0..500 {
            script = script.bytes(chunk.clone());
        }
        script.stall()
    });
    let setup = Setup::new()
        .tenant("abc", sample(&provider))
        .yaml("server: { drain_timeout: 1s }");
    let gateway = Gateway::start(setup);
    let key = mint(&gateway, "abc");

    let stream = chat_streaming(
        &gateway,
        "abc",
        &key,
        &json!({"stream": true, "messages": []}),
    );
    assert_eq!(stream.status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait_exit(Duration::from_secs(10)).code(), Some(0));
    drop(stream);
}

#[test]
fn redirect_and_unrequested_coding_are_provider_failures() {
    for (script, status) in [
        (
            Script::chat("Hi", 1, 1).header("content-encoding", "gzip"),
            502,
        ),
        (
            Script::json(302, &json!({})).header("location", "http://127.0.0.1:1/"),
            502,
        ),
        (
            Script::json(
                429,
                &json!({"error": {"message": "org-secret", "code": "insufficient_quota"}}),
            ),
            502,
        ),
        (
            Script::json(402, &json!({"error": {"message": "org-secret"}})),
            502,
        ),
    ] {
        let provider = Provider::start(move |_| script.clone());
        let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1000)));
        let key = mint(&gateway, "abc");
        let answer = chat(&gateway, "abc", &key, &hi());
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(!answer.text().contains("org-secret"));
        assert_eq!(balance(&gateway, &key), (1000, 1000));
        assert_eq!(provider.requests().len(), 1, "a redirect is not followed");
    }
}

#[test]
fn client_that_leaves_before_the_answer_pays_the_hold() {
    let provider = Provider::start(|_| Script::new().stall());
    let setup = Setup::new().yaml("upstream: { drain: 1s }");
    let gateway = Gateway::start(setup.tenant("abc", sample(&provider).tokens(1000)));
    let key = mint(&gateway, "abc");
    let call =
        json!({"max_tokens": 100, "messages": [{"role": "user", "content": "x".repeat(400)}]});
    let call = call.to_string();
    let mut connection = gateway.client().connect();
    connection.write(format!("POST {CHAT_PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{call}", call.len()).as_bytes());
    provider.wait_requests(1);
    drop(connection);

    eventually(Duration::from_secs(5), "the hold is charged", || {
        let (left, free) = balance(&gateway, &key);
        (left == free && left < 500 && left > 400).then_some(())
    });
}

/// A busy provider sends a token late: it had generated it before the client left.
#[test]
fn token_on_its_way_at_a_disconnect_is_charged() {
    let word = |word: &str| {
        let event = json!({"choices": [{"index": 0, "delta": {"content": word}}]});
        format!("data: {event}\n\n")
    };
    let late = "late ".repeat(100);
    let provider = Provider::start(move |_| {
        Script::new()
            .head(200, &[("content-type", "text/event-stream")])
            .bytes(word("first "))
            .then(Step::WaitUntilLeft)
            .bytes(word(&late))
            .stall()
    });
    let config = sample(&provider).tokens(1000).server("openai", "openai");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let call = json!({"model": "gpt-4o", "stream": true, "max_tokens": 500, "messages": []});

    let mut stream = chat_streaming(&gateway, "abc", &key, &call);
    stream.wait_for("first");
    drop(stream);

    let charged = eventually(Duration::from_secs(5), "it is settled", || {
        let (left, free) = balance(&gateway, &key);
        (left == free && left < 1000).then_some(1000 - left)
    });
    assert!((100..=300).contains(&charged), "{charged}");
    provider.wait_left(0);
}

#[test]
fn complete_stream_needs_no_clean_close() {
    let provider = Provider::start(|_| Script::chat_stream(&["one "], 10, 2).then(Step::Cut));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider).tokens(1000)));
    let key = mint(&gateway, "abc");
    let call = json!({"stream": true, "messages": []}).to_string();

    let new = gateway
        .client()
        .request("POST", CHAT_PATH)
        .bearer(&key)
        .body(call.clone())
        .send();
    assert!(
        new.text().trim_end().ends_with("data: [DONE]"),
        "{}",
        new.text()
    );

    let old = format!(
        "POST {CHAT_PATH} HTTP/1.0\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{call}",
        call.len()
    );
    let answer = raw_for(gateway.addr(), old.as_bytes(), Duration::from_secs(3));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        !answer.to_ascii_lowercase().contains("transfer-encoding"),
        "{answer}"
    );
    assert!(answer.trim_end().ends_with("data: [DONE]"), "{answer}");
    assert_eq!(balance(&gateway, &key), (976, 976));
}

#[test]
fn idempotency_keys_of_two_users_differ_at_the_provider() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let gateway = Gateway::start(Setup::new().tenant("abc", sample(&provider)));
    let [one, other] = [mint(&gateway, "abc"), mint(&gateway, "abc")];
    let sent = |key: &str, name: &str| {
        let client = gateway.client();
        let request = client.request("POST", CHAT_PATH).bearer(key).json(&hi());
        assert_eq!(request.header("idempotency-key", name).send().status, 200);
        let asked = provider.requests().pop().unwrap();
        asked.header("idempotency-key").unwrap().to_owned()
    };

    let first = sent(&one, "retry-1");

    assert_eq!(sent(&one, "retry-1"), first, "a repeat is a repeat");
    assert_ne!(sent(&other, "retry-1"), first);
    assert_ne!(sent(&one, "retry-2"), first);
    assert!(!first.contains("retry"));
}

#[test]
fn provider_key_is_redacted_in_every_spelling() {
    const KEY: &str = "sk-prov/0123+abcdefgh=";
    for echo in [
        r#"{"error":{"message":"no key sk-prov\/0123+abcdefgh="}}"#,
        r#"{"error":{"message":"no key sk-prov/0123\u002Babcdefgh\u003d"}}"#,
        r#"{"error":{"message":"GET /?key=sk-prov%2F0123%2Babcdefgh%3D"}}"#,
        // user:KEY
        r#"{"error":{"message":"Basic dXNlcjpzay1wcm92LzAxMjMrYWJjZGVmZ2g9"}}"#,
    ] {
        let provider = Provider::start(move |_| {
            Script::new()
                .head(
                    400,
                    &[
                        ("content-type", "application/json"),
                        ("openai-version", &echo[20..echo.len() - 3]),
                    ],
                )
                .bytes(echo)
        });
        let config = sample(&provider).set("providers.text.endpoints.openai.api_key", json!(KEY));
        let gateway = Gateway::start(Setup::new().tenant("abc", config));
        let key = mint(&gateway, "abc");

        let answer = chat(&gateway, "abc", &key, &hi());

        assert_eq!(answer.status, 400);
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.ends_with("***"), "{message}");
        assert_eq!(answer.header("openai-version"), None);
    }
}

/// The word `image` made the gateway parse the call a second time and forget that this server bills
/// moderations.
#[test]
fn a_moderation_of_text_about_an_image_is_billed() {
    let answer = json!({"id": "m", "results": [{"flagged": false}], "usage": {"prompt_tokens": 8, "completion_tokens": 0, "total_tokens": 8}});
    let provider = Provider::start(move |_| Script::json(200, &answer));
    let config = sample(&provider).tokens(1_000).server("openai", "mistral");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let client = gateway.client();
    let request = client.request("POST", "/abc/v1/moderations").bearer(&key);

    let answer = request
        .json(&json!({"model": "m", "input": "what an image shows"}))
        .send();

    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(balance(&gateway, &key).0, 992);
}

/// A client of another API got status 200 with an error in its body, which no SDK raises on.
#[test]
fn answer_of_no_use_is_no_success_in_another_api() {
    let provider = Provider::start(|request| match request.text() {
        text if text.contains("html") => {
            let headers = [("content-type", "text/html"), ("content-length", "6")];
            Script::new().head(200, &headers).bytes("<html>")
        }
        text if text.contains("list") => Script::json(200, &json!([{"candidates": []}])),
        _ => Script::json(200, &json!({"error": {"code": 500, "message": "Broken"}})),
    });
    let config = sample(&provider)
        .endpoint("claude", &provider.url("/v1/messages"), "claude")
        .endpoint(
            "google",
            &provider.url("/v1beta/models/m:generateContent"),
            "m",
        );
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    for endpoint in ["claude", "google"] {
        for what in ["html", "list", "error"] {
            let key = mint(&gateway, "abc");
            let call = json!({"model": format!("{endpoint}/m"), "messages": [{"role": "user", "content": what}]});
            let client = gateway.client();
            let request = client.request("POST", "/abc/v1/chat/completions");
            let answer = request.bearer(&key).json(&call).send();
            assert_eq!(answer.status, 502, "{endpoint} {what}: {}", answer.text());
            assert!(answer.json()["error"]["message"].is_string());
        }
    }
}
