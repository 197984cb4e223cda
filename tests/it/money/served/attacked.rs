//! Hostile callers and careless providers that once got tokens below cost.

use super::known::{charged, hi, start, streamed, words};
use crate::harness::{Gateway, Provider, Script, Setup, chat, mint, sample, spent};
use serde_json::{Value, json};
use std::time::Duration;

const GRANT: u64 = 100_000;

/// A gateway with an Anthropic endpoint at this provider.
fn claude(provider: &Provider) -> (Gateway, String) {
    let url = provider.url("/v1/messages");
    let config = sample(provider)
        .tokens(GRANT)
        .endpoint("anthropic", &url, "claude-sonnet-4-5")
        .server("anthropic", "anthropic");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    (gateway, key)
}

/// The text `disabled` somewhere in `thinking` does not disable reasoning.
#[test]
fn reasoning_disabled_in_name_only_is_charged() {
    let provider = Provider::start(|_| {
        let text = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}});
        let usage =
            json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 20_010}});
        Script::sse_named([("content_block_delta", text)])
            .wait(Duration::from_millis(500))
            .bytes(format!("event: message_delta\ndata: {usage}\n\n"))
            .bytes("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
    });
    let (gateway, key) = claude(&provider);
    let ask = |thinking: &str| {
        let body = format!(
            r#"{{"model":"claude-sonnet-4-5","max_tokens":32000,"stream":true,"thinking":{thinking},"messages":[{{"role":"user","content":"Hi"}}]}}"#
        );
        let client = gateway.client();
        let request = client.request("POST", "/abc/v1/messages");
        request
            .bearer(&key)
            .header("content-type", "application/json")
            .body(body)
            .send_streaming()
    };

    let twice = ask(r#"{"type":"disabled","type":"enabled","budget_tokens":20000}"#);
    assert_eq!(twice.status, 400);

    let mut odd = ask(r#"{"type":"enabled","budget_tokens":20000,"x":"disabled"}"#);
    odd.wait_for("Hi");
    drop(odd);
    assert!(spent(&gateway, &key, GRANT) >= 20_010);
}

/// Rules for a vendor's own API do not hold where it offers another one.
#[test]
fn claude_behind_the_openai_api_gets_generic_bounds() {
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let config = sample(&provider)
        .tokens(GRANT)
        .server("openai", "anthropic");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let mut call = hi();
    call["thinking"] = json!({"type": "enabled", "budget_tokens": 20_000});

    let answer = chat(&gateway, "abc", &key, &call);

    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("thinking is not forwarded"),
        "{}",
        answer.text()
    );
}

/// Refused before authentication, so the check must be cheap.
#[test]
fn body_with_too_many_tools_is_refused_at_once() {
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let (gateway, key) = start(&provider);
    let mut call = hi();
    let many = |kind: &str| Value::from(vec![json!({"type": kind}); 60_000]);
    call["tools"] = many("mcp");
    call["tool_choice"] = json!({"type": "x", "tools": many("x_search")});

    let answer = chat(&gateway, "abc", &key, &call);
    assert_eq!(answer.status, 400, "{}", answer.text());
    // The check was once quadratic.
    assert!(answer.text().contains("More than 128"), "{}", answer.text());
    call["tools"] = Value::Null;
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 400);
}

#[test]
fn usage_with_too_many_models_is_summed() {
    let parts: Vec<Value> = (0..20_000)
        .map(|at| json!({"model": format!("m{at}"), "input_tokens": 1, "output_tokens": 1}))
        .collect();
    let usage = json!({"input_tokens": 1, "output_tokens": 1, "iterations": parts});
    let answer = json!({"type": "message", "role": "assistant", "usage": usage,
        "content": [{"type": "text", "text": "Hi"}]});
    let provider = Provider::start(move |_| Script::json(200, &answer));
    let (gateway, key) = claude(&provider);
    let client = gateway.client();
    let request = client.request("POST", "/abc/v1/messages").bearer(&key);

    let answer = request.json(&hi()).send();

    assert_eq!(answer.status, 200);
    assert_eq!(spent(&gateway, &key, GRANT), 40_000);
}

/// An answer with a fixed size is read to its end for its usage, too.
#[test]
fn disconnect_during_an_image_is_charged_in_full() {
    let provider = Provider::start(|_| {
        let usage = json!({"type": "image_generation.completed", "b64_json": "AAAA",
            "usage": {"input_tokens": 30, "output_tokens": 16_000, "total_tokens": 16_030}});
        Script::sse([r#"{"type":"image_generation.partial_image","b64_json":"AAAA"}"#])
            .wait(Duration::from_millis(500))
            .bytes(format!("data: {usage}\n\n"))
    });
    let (gateway, key) = start(&provider);
    let call = json!({"model": "gpt-image-1", "prompt": "a cat", "n": 2, "stream": true});
    let client = gateway.client();
    let request = client.request("POST", "/abc/v1/images/generations");
    let mut stream = request.bearer(&key).json(&call).send_streaming();
    stream.wait_for("partial_image");
    drop(stream);

    assert_eq!(spent(&gateway, &key, GRANT), 16_030);
}

#[test]
fn unknown_members_of_an_error_are_charged() {
    let odd = json!({"choices": [{"index": 0, "delta": {"foo": words()}}]}).to_string();
    let error = json!({"error": {"message": "No"}}).to_string();
    let script = Script::sse([odd, error]);
    assert!(charged(&streamed(), move || script.clone()) >= 400);
}

#[test]
fn error_body_is_truncated_at_the_paid_length() {
    let provider = Provider::start(|_| {
        let mut body = json!({"error": {"message": "No", "failed_generation": "a"}}).to_string();
        body.push_str(&words().repeat(100));
        Script::new()
            .head(400, &[("content-type", "application/json")])
            .bytes(body)
    });
    let (gateway, key) = start(&provider);

    let answer = chat(&gateway, "abc", &key, &hi());

    assert_eq!(answer.status, 400);
    assert!(answer.text().len() < 1_000, "{}", answer.text().len());
}

#[test]
fn members_that_load_unseen_context_are_refused() {
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let config = sample(&provider).tokens(GRANT).server("openai", "vllm");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let ask = |member: &str, value: Value| {
        let mut call = hi();
        call[member] = value;
        chat(&gateway, "abc", &key, &call).status
    };
    let kwargs = |name: &str| json!({name: "{% for i in range(90000) %}x{% endfor %}"});

    assert_eq!(ask("chat_template_kwargs", kwargs("chat_template")), 400);
    assert_eq!(
        ask("chat_template_kwargs", json!({"enable_thinking": false})),
        200
    );

    let message = |content: Value| json!([{"role": "user", "content": content}]);
    let stored = json!({"type": "file", "file": {"file_id": "f"}});
    for content in [stored.clone(), json!([[stored]])] {
        assert_eq!(ask("messages", message(content)), 400);
    }
    let function = json!({"type": "function", "function": {"name": "f"}, "googleSearch": {}});
    assert_eq!(ask("tools", json!([function])), 400);
}

/// Only the last chunk is missing, so the reported usage is complete.
#[test]
fn answer_without_its_last_chunk_costs_its_usage() {
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": "Hi"}});
    let answer =
        json!({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    let script = move || {
        Script::new()
            .head(200, &[("content-type", "application/json")])
            .bytes(answer.to_string())
            .wait(Duration::from_millis(300))
            .cut()
    };

    assert_eq!(charged(&hi(), script), 5);
}

/// A recursive parser would overflow the stack and crash the gateway.
#[test]
fn answer_nested_100000_levels_is_not_parsed() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let choice = |of: &str| format!(r#"{{"choices":[{{"index":0,"{of}":{{"content":{deep}}}}}]}}"#);
    let (whole, piece) = (choice("message"), choice("delta"));
    let failed = format!(r#"{{"error":{{"failed_generation":{deep}}}}}"#);
    let provider = Provider::start(move |request| {
        let json = &[("content-type", "application/json")];
        match request.json()["model"].as_str() {
            Some("plain") => Script::new().head(200, json).bytes(whole.clone()),
            Some("failed") => Script::new().head(400, json).bytes(failed.clone()),
            Some("streamed") => Script::sse([piece.as_str(), "[DONE]"]),
            _ => Script::chat("Hi", 9, 5),
        }
    });
    let config = sample(&provider).tokens(10 * GRANT);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");

    for (model, stream) in [("plain", false), ("failed", false), ("streamed", true)] {
        let mut call = hi();
        call["model"] = model.into();
        call["stream"] = stream.into();
        let _ = chat(&gateway, "abc", &key, &call);
        assert_eq!(chat(&gateway, "abc", &key, &hi()).status, 200, "{model}");
    }
}

/// The client received nothing.
#[test]
fn answer_without_content_costs_nothing() {
    for status in [204, 205, 206] {
        let script = move || {
            Script::new().head(
                status,
                &[
                    ("content-type", "application/json"),
                    ("content-length", "0"),
                ],
            )
        };
        assert_eq!(charged(&hi(), script), 0, "{status}");
    }
}

#[test]
fn answer_shaped_like_an_error_is_charged() {
    let error = json!({"error": {"message": words(), "type": "x"}});
    let plain = error.clone();
    assert!(charged(&hi(), move || Script::json(200, &plain)) >= 400);
    let event = error.to_string();
    assert!(charged(&streamed(), move || Script::sse([event.clone()])) >= 400);
}

#[test]
fn nested_objects_are_a_closed_set() {
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let (gateway, key) = start(&provider);

    for (member, value) in [
        ("response_format", json!({"type": "text", "max_length": 9})),
        (
            "prediction",
            json!({"type": "content", "content": "a", "n": 9}),
        ),
        (
            "audio",
            json!({"voice": "a", "format": "wav", "seconds": 9}),
        ),
    ] {
        let mut call = hi();
        call[member] = value;
        let answer = chat(&gateway, "abc", &key, &call);
        assert_eq!(answer.status, 400, "{member}: {}", answer.text());
        assert!(
            answer.text().contains(&format!("{member}.")),
            "{}",
            answer.text()
        );
    }

    // A chat template may print any of its arguments, whatever their names.
    let mut call = hi();
    call["reasoning_effort"] = "9".repeat(GRANT as usize + 1_000).into();
    assert_eq!(chat(&gateway, "abc", &key, &call).status, 402);
}

/// The server's template counts also where the prompt is tokenised because its byte bound exceeds the
/// balance.
#[test]
fn counted_prompt_includes_the_servers_template() {
    let provider = Provider::start(|_| Script::chat("Hi", 1_260, 5));
    let config = sample(&provider).server("openai", "vllm");
    for (model, text, tokens) in [
        ("devstral", "Hi".to_owned(), 300),
        ("m", "\u{FDFA}".repeat(60), 400),
        ("m", "\\ufdfa".repeat(60), 700),
    ] {
        let setup = Setup::new().tenant("abc", config.clone().tokens(tokens));
        let gateway = Gateway::start(setup);
        let key = mint(&gateway, "abc");
        let body = format!(
            r#"{{"model":"{model}","max_tokens":16,"messages":[{{"role":"user","content":"{text}"}}]}}"#
        );
        let request = gateway
            .client()
            .request("POST", "/abc/v1/chat/completions")
            .bearer(&key);
        let answer = request
            .header("content-type", "application/json")
            .body(body)
            .send();
        assert_eq!(answer.status, 402, "{model}: {}", answer.text());
    }
}

/// Escapes are refused in names but allowed in values.
#[test]
fn image_part_counts_in_every_spelling_of_its_type() {
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let url = provider.url("/v1/messages");
    let config = sample(&provider)
        .tokens(4_500)
        .endpoint("anthropic", &url, "claude-opus-4-8")
        .server("anthropic", "anthropic");
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");

    for kind in ["image", r"\u0069mage", r"d\u006fcument"] {
        let body = format!(
            r#"{{"model":"claude-opus-4-8","max_tokens":16,"messages":[{{"role":"user","content":[{{"type":"{kind}","source":{{"type":"url","url":"https://x.example/y"}}}}]}}]}}"#
        );
        let request = gateway
            .client()
            .request("POST", "/abc/v1/messages")
            .bearer(&key);
        let answer = request
            .header("content-type", "application/json")
            .body(body)
            .send();
        assert_eq!(answer.status, 402, "{kind}: {}", answer.text());
    }
}

#[test]
fn stream_of_a_more_expensive_model_ends_at_its_hold() {
    let events: Vec<String> = (0..1_000)
        .map(|_| {
            json!({"model": "dear", "choices": [{"index": 0, "delta": {"content": "word "}}]})
                .to_string()
        })
        .collect();
    let provider = Provider::start(move |_| Script::sse(events.iter().map(String::as_str)));
    let config = sample(&provider)
        .tokens(1_300)
        .set("providers.text.rates", json!({"dear": 20, "*": 1}));
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let mut call = streamed();
    call["max_tokens"] = json!(1_000);
    let answer = chat(&gateway, "abc", &key, &call);

    let passed = answer.text().matches("word").count();

    assert!(passed < 300, "{passed}");
}

/// An hour of silence compresses to a few kilobytes.
#[test]
fn recording_in_a_chat_counts_by_its_seconds() {
    let mut wav = b"RIFF\x94\x17\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x0a\0\0\0\x0a\0\0\0\x01\0\x08\0data\x70\x17\0\0".to_vec();
    wav.resize(44 + 6_000, 128);
    let provider = Provider::start(|_| Script::chat("Hi", 9, 5));
    let config = sample(&provider).tokens(20_000);
    let gateway = Gateway::start(Setup::new().tenant("abc", config));
    let key = mint(&gateway, "abc");
    let data = base64(&wav);
    let mut call = hi();
    call["messages"][0]["content"] =
        json!([{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]);

    assert_eq!(chat(&gateway, "abc", &key, &call).status, 402);
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = |chunk: &[u8]| {
        let mut bits = [0; 3];
        bits[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, bits[0], bits[1], bits[2]]);
        let letter = |at: usize| char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]);
        (0..4)
            .map(|at| if at <= chunk.len() { letter(at) } else { '=' })
            .collect::<String>()
    };
    bytes.chunks(3).map(letters).collect()
}
