//! Known exploits: providers with odd usage reports, callers with odd bodies.
//!
//! Each case was once served below cost. The charge is never below the generated tokens, and a body that
//! parsers could read differently is never forwarded.

use crate::harness::{
    Gateway, Provider, Script, Setup, balance, chat, chat_streaming, eventually, mint, sample,
    spent,
};
use serde_json::{Value, json};
use std::time::Duration;

const GRANT: u64 = 100_000;
const WORDS: usize = 400;

pub fn words() -> String {
    "word ".repeat(WORDS)
}

pub fn hi() -> Value {
    json!({"model": "m", "max_tokens": 2000, "messages": [{"role": "user", "content": "Hi"}]})
}

pub fn streamed() -> Value {
    let mut call = hi();
    call["stream"] = json!(true);
    call
}

pub fn start(provider: &Provider) -> (Gateway, String) {
    let config = sample(provider).tokens(GRANT);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    (gateway, key)
}

/// Charge of a call with this answer.
pub fn charged(call: &Value, script: impl Fn() -> Script + Send + Sync + 'static) -> u64 {
    let provider = Provider::start(move |_| script());
    let (gateway, key) = start(&provider);
    let _ = chat(&gateway, "abc", &key, call);
    spent(&gateway, &key, GRANT)
}

fn answer(usage: Value) -> Script {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": words()}});
    Script::json(200, &json!({"choices": [choice], "usage": usage}))
}

fn stream(usage_of_chunk: &Value, last: &Value) -> Script {
    let mut events: Vec<String> = (0..WORDS)
        .map(|_| {
            json!({"choices": [{"index": 0, "delta": {"content": "word "}}], "usage": usage_of_chunk})
                .to_string()
        })
        .collect();
    events.push(json!({"choices": [], "usage": last}).to_string());
    events.push("[DONE]".to_owned());
    Script::sse(events.iter().map(String::as_str))
}

#[test]
fn zero_usage_beside_text_is_ignored() {
    let zero = json!({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0});
    let told = json!({"prompt_tokens": 9, "completion_tokens": 400, "total_tokens": 409});

    let plain = zero.clone();
    assert!(charged(&hi(), move || answer(plain.clone())) >= 400);
    let (chunk, last) = (zero.clone(), zero.clone());
    assert!(charged(&streamed(), move || stream(&chunk, &last)) >= 400);

    // The final usage counts; later zeros do not replace it.
    let chunk = zero.clone();
    assert_eq!(charged(&streamed(), move || stream(&chunk, &told)), 409);
    let chunk = json!({"prompt_tokens": 9, "completion_tokens": 400});
    assert_eq!(charged(&streamed(), move || stream(&chunk, &zero)), 409);
}

#[test]
fn malformed_member_does_not_hide_the_usage() {
    for usage in [
        r#"{"prompt_tokens":9.0,"completion_tokens":4e2}"#,
        r#"{"prompt_tokens":9,"completion_tokens":400,"total_tokens":"409"}"#,
        r#"{"prompt_tokens":9,"completion_tokens":400,"prompt_tokens_details":[]}"#,
        r#"{"prompt_tokens":9,"completion_tokens":400,"prompt_tokens_details":{"cached_tokens":0.0}}"#,
        r#"{"prompt_tokens":9,"completion_tokens":1,"completion_tokens":400}"#,
        r#"{"prompt_tokens":9,"total_tokens":409}"#,
    ] {
        let body = format!(
            r#"{{"choices":[{{"message":{{"content":"{}"}}}}],"usage":{usage}}}"#,
            words()
        );
        let script = move || {
            Script::new()
                .head(200, &[("content-type", "application/json")])
                .bytes(body.as_str())
        };
        assert_eq!(charged(&hi(), script), 409, "{usage}");
    }
}

#[test]
fn unreadable_events_are_counted_and_nothing_follows_the_end() {
    for odd in [
        r#"{"choices":[{"delta":{"content":"\ud83d word word word word"}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":"word word word word"}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":{"function":{"arguments":"word word word word"}}}}]}"#,
        r#"{"choices":[{"delta":{"content":"word word word word"},"delta":{}}]}"#,
        r#"word word word word"#,
    ] {
        let mut events = vec![odd; 50];
        events.push("[DONE]");
        let script = Script::sse(events);
        assert!(charged(&streamed(), move || script.clone()) >= 200, "{odd}");
    }

    let late = r#"{"choices":[{"delta":{"content":"late"}}]}"#;
    let provider = Provider::start(move |_| Script::sse(["[DONE]", late]));
    let (gateway, key) = start(&provider);
    let answer = chat(&gateway, "abc", &key, &streamed());
    assert!(!answer.text().contains("late"), "{}", answer.text());
}

#[test]
fn error_with_generated_text_is_charged_for_it() {
    let error = |goods: &str| {
        json!({"error": {"message": "Failed to call a function", "type": "invalid_request_error",
            "code": "tool_use_failed", "failed_generation": goods}})
    };
    let full = error(&words());
    assert!(charged(&hi(), move || Script::json(400, &full)) >= 400);
    let empty = json!({"error": {"message": "No", "type": "x", "code": null}});
    assert_eq!(charged(&hi(), move || Script::json(400, &empty)), 0);

    let told =
        json!({"error": {"message": "No"}, "usage": {"prompt_tokens": 7, "completion_tokens": 5}});
    assert_eq!(charged(&hi(), move || Script::json(500, &told)), 12);
}

#[test]
fn hidden_reasoning_is_charged_after_a_disconnect() {
    let provider = Provider::start(|_| {
        Script::sse([r#"{"choices":[{"index":0,"delta":{"content":"ok"},"finish_reason":"stop"}]}"#])
            .wait(Duration::from_millis(600))
            .bytes("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":5000}}\n\ndata: [DONE]\n\n")
    });
    let (gateway, key) = start(&provider);
    let mut call = streamed();
    call["max_tokens"] = json!(10_000);

    let mut stream = chat_streaming(&gateway, "abc", &key, &call);
    stream.wait_for("stop");
    drop(stream);

    eventually(Duration::from_secs(10), "the usage is charged", || {
        (balance(&gateway, &key) == (GRANT - 5030, GRANT - 5030)).then_some(())
    });
    assert_eq!(provider.served(), 1, "it was read to its end");
}

#[test]
fn body_with_an_unknown_member_is_refused_by_name() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let (gateway, key) = start(&provider);

    for name in [
        "max_new_tokens",
        "max_output_tokens",
        "num_predict",
        "options",
        "auto_max_new_tokens",
        "use_beam_search",
        "fallbacks",
        "Temperature_2",
    ] {
        let mut call = hi();
        call[name] = json!(50_000);
        let answer = chat(&gateway, "abc", &key, &call);
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        let message = answer.json()["error"]["message"].clone();
        assert!(message.as_str().unwrap().starts_with(name), "{message}");
    }
    // Go's JSON parser folds these to known names.
    for name in [
        "max_to\u{212a}ens",
        "max_token\u{17f}",
        "me\u{17f}\u{17f}ages",
        "\u{17f}tream",
    ] {
        let mut call = hi();
        call[name] = json!(50_000);
        assert_eq!(chat(&gateway, "abc", &key, &call).status, 400, "{name}");
    }
    assert_eq!(provider.requests().len(), 0);
    assert_eq!(balance(&gateway, &key), (GRANT, GRANT));
}

#[test]
fn every_limit_member_is_set_to_the_hold() {
    let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
    let config = sample(&provider).tokens(200);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let mut call = hi();
    call["n_predict"] = json!(50_000);

    let answer = chat(&gateway, "abc", &key, &call);

    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = provider.requests()[0].json();
    assert_eq!(sent["n_predict"], sent["max_tokens"]);
    assert!(sent["n_predict"].as_u64().unwrap() < 200, "{sent}");
    let mut endless = hi();
    endless["n_predict"] = json!(-1);
    assert_eq!(chat(&gateway, "abc", &key, &endless).status, 400);
}

#[test]
fn members_pass_where_allowed_by_config_or_server_kind() {
    for (setting, value) in [("members", json!(["mine"])), ("server", json!("openai"))] {
        let provider = Provider::start(|_| Script::chat("Hi", 1, 1));
        let config = sample(&provider)
            .tokens(GRANT)
            .set(&format!("providers.text.endpoints.openai.{setting}"), value);
        let gateway = Gateway::start(Setup::new().tenant("abc", config));
        let key = mint(&gateway, "abc");
        let mut call = hi();
        call["mine"] = json!({"a": 1});
        call["store"] = json!(true);

        let answer = chat(&gateway, "abc", &key, &call);

        assert_eq!(answer.status, 200, "{setting}: {}", answer.text());
        let sent = provider.requests()[0].json();
        assert_eq!(
            (&sent["mine"], &sent["store"]),
            (&json!({"a": 1}), &json!(false))
        );
    }
}

#[test]
fn rates_apply_where_a_provider_reports_no_usage() {
    let provider = Provider::start(|_| Script::json(200, &json!({"data": [{"url": "x"}]})));
    let config = sample(&provider)
        .tokens(1_000_000)
        .set("providers.text.rates", json!({"dear": 20, "free": 0}));
    let gateway = Gateway::start(Setup::new().tenant("abc", config));

    for (model, cost) in [("other", 8_002), ("dear", 160_040), ("free", 0)] {
        let key = mint(&gateway, "abc");
        let answer = gateway
            .client()
            .request("POST", "/abc/v1/images/generations")
            .bearer(&key)
            .json(&json!({"model": model, "prompt": "a blue"}))
            .send();
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        assert_eq!(balance(&gateway, &key).0, 1_000_000 - cost, "{model}");
    }
}

#[test]
fn content_encoding_is_read_in_every_line_and_case() {
    for (codings, status) in [
        (&["Identity"][..], 200),
        (&["identity", "gzip"], 502),
        (&["gzip"], 502),
    ] {
        let codings = codings.to_vec();
        let provider = Provider::start(move |_| {
            let answer = Script::chat("Hi", 9, 5);
            codings.iter().fold(answer, |answer, coding| {
                answer.header("content-encoding", coding)
            })
        });
        let (gateway, key) = start(&provider);
        let answer = chat(&gateway, "abc", &key, &hi());
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

/// Tokens in a compressed body cannot be counted.
#[test]
fn answer_with_a_gzip_transfer_coding_gets_502() {
    let provider = Provider::start(|_| {
        Script::new()
            .head(200, &[("transfer-encoding", "gzip, chunked")])
            .bytes("3\r\nabc\r\n0\r\n\r\n")
    });
    let (gateway, key) = start(&provider);

    let answer = chat(&gateway, "abc", &key, &hi());

    assert_eq!(answer.status, 502, "{}", answer.text());
}

#[test]
fn nested_members_are_a_closed_set() {
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let (gateway, key) = start(&provider);
    let ask = |member: &str, value: Value| {
        let mut call = streamed();
        let content = json!([{"type": "text", "text": "Hi"}]);
        call["messages"] = json!([{"role": "user", "content": content}]);
        call["metadata"] = json!({"a": "b"});
        let (place, name) = member.split_once('.').expect("a place");
        match place {
            "content" => call["messages"][0]["content"][0][name] = value,
            "messages" => call["messages"][0][name] = value,
            place => call[place][name] = value,
        }
        chat(&gateway, "abc", &key, &call)
    };

    for member in [
        "messages.tools",
        "content.image_embeds",
        "content.video_url",
        "stream_options.odd",
        "metadata.mcp_servers",
    ] {
        let answer = ask(member, json!("https://x"));
        assert_eq!(answer.status, 400, "{member}: {}", answer.text());
        let message = answer.json()["error"]["message"].clone();
        assert!(message.as_str().unwrap().starts_with(member), "{message}");
    }
    assert!(provider.requests().is_empty());
    for member in [
        "messages.reasoning",
        "content.cache_control",
        "stream_options.continuous_usage_stats",
        "metadata.c",
    ] {
        assert_eq!(ask(member, json!("x")).status, 200, "{member}");
        assert_eq!(ask(member, Value::Null).status, 200, "{member}");
    }
}

#[test]
fn form_fields_are_a_closed_set() {
    let provider = Provider::start(|_| Script::json(200, &json!({"text": "Hi"})));
    let (gateway, key) = start(&provider);
    let ask = |name: &str| {
        let form = format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\
             --b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n1\r\n--b--\r\n"
        );
        let client = gateway.client();
        let request = client.request("POST", "/abc/v1/audio/transcriptions");
        request
            .bearer(&key)
            .header("content-type", "multipart/form-data; boundary=b")
            .body(form)
            .send()
    };

    let answer = ask("num_beams");

    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("num_beams is not forwarded"),
        "{}",
        answer.text()
    );
    assert!(provider.requests().is_empty());
    assert_eq!(ask("temperature").status, 200);
}

#[test]
fn usage_record_of_a_disconnect_has_the_charge() {
    let provider = Provider::start(|_| {
        Script::sse([r#"{"choices":[{"index":0,"delta":{"content":"one two"}}]}"#])
            .wait(Duration::from_millis(500))
            .bytes("data: [DONE]\n\n")
    });
    let (gateway, key) = start(&provider);

    let mut stream = chat_streaming(&gateway, "abc", &key, &streamed());
    stream.wait_for("two");
    drop(stream);

    let recorded = eventually(Duration::from_secs(10), "it is recorded", || {
        let client = gateway.client();
        let request = client.request("GET", "/abc/admin/usage");
        let total = request.bearer(gateway.admin_token()).send().json()["total"].clone();
        (total["requests"] == 1).then(|| total["cost"].as_u64())?
    });
    assert!(recorded > 0);
    assert_eq!(balance(&gateway, &key).0, GRANT - recorded);
}
