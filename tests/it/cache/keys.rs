//! Keys of the cache: which calls share an answer, and which never do.

use super::{GRANT, cached, hi, result_of, start};
use crate::harness::{Gateway, Provider, Script, Setup, chat, eventually, mint, sample};
use serde_json::{Value, json};

fn provider() -> Provider {
    Provider::start(|_| Script::chat("Good day", 9, 2))
}

fn result_of_text(gateway: &Gateway, key: &str, text: &str) -> String {
    let request = gateway.client().request("POST", "/abc/v1/chat/completions");
    let request = request
        .bearer(key)
        .header("content-type", "application/json");
    let answer = request.body(text.as_bytes()).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
        .header("x-resullm-cache")
        .unwrap_or("none")
        .to_owned()
}

#[test]
fn spelling_of_the_body_and_who_asks_make_no_difference() {
    let provider = provider();
    let (gateway, key) = start(cached(&provider));
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    for text in [
        r#"{"messages":[{"content":"Hi","role":"user"}],"max_tokens":50,"model":"gpt-4o"}"#,
        "{ \"model\": \"gpt-4o\",\n \"max_tokens\": 50, \"messages\": [ {\"role\": \"user\", \"content\": \"\\u0048i\"} ] }",
        r#"{"model":"gpt-4o","max_tokens":50,"messages":[{"role":"user","content":"Hi"}],"user":"me","metadata":{"a":"b"}}"#,
        r#"{"model":"gpt-4o","max_tokens":50,"messages":[{"role":"user","content":"Hi"}],"stream":false,"prompt_cache_key":"x","safety_identifier":"y"}"#,
    ] {
        assert_eq!(result_of_text(&gateway, &key, text), "hit", "{text}");
    }
    assert_eq!(provider.requests().len(), 1);
}

#[test]
fn what_shapes_an_answer_makes_a_difference() {
    let provider = provider();
    let (gateway, key) =
        start(cached(&provider).set("providers.text.endpoints.openai.server", json!("openai")));
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    let changes = [
        ("max_tokens", json!(51)),
        ("model", json!("gpt-4o-mini")),
        ("model", json!("openai/gpt-4o")),
        ("temperature", json!(0)),
        ("temperature", json!(0.5)),
        ("seed", json!(1)),
        ("seed", json!(2)),
        ("stop", json!(["a"])),
        ("stop", json!("a")),
        ("messages", json!([{"role": "user", "content": "Hi "}])),
        ("messages", json!([{"role": "system", "content": "Hi"}])),
        (
            "messages",
            json!([{"role": "user", "content": "Hi"}, {"role": "user", "content": "Hi"}]),
        ),
        ("response_format", json!({"type": "json_object"})),
        ("n", json!(2)),
    ];
    for (member, value) in changes {
        let mut call = hi();
        call[member] = value.clone();
        assert_eq!(
            result_of(&gateway, &key, &call),
            "miss",
            "{member}: {value}"
        );
    }
    assert_eq!(result_of(&gateway, &key, &hi()), "hit");
}

#[test]
fn tenants_never_share_an_answer() {
    let provider = provider();
    let setup = Setup::new()
        .tenant("abc", cached(&provider))
        .tenant("other", cached(&provider));
    let gateway = Gateway::start(setup);
    for tenant in ["abc", "other"] {
        let key = mint(&gateway, tenant);
        let answer = chat(&gateway, tenant, &key, &hi());
        assert_eq!(answer.header("x-resullm-cache"), Some("miss"), "{tenant}");
    }
    assert_eq!(provider.requests().len(), 2);
}

#[test]
fn accounts_share_nothing_where_the_scope_is_the_user() {
    let provider = provider();
    let (gateway, key) = start(cached(&provider).set("caching.scope", json!("user")));
    let other = mint(&gateway, "abc");
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    assert_eq!(result_of(&gateway, &other, &hi()), "miss");
    assert_eq!(result_of(&gateway, &key, &hi()), "hit");
    assert_eq!(result_of(&gateway, &other, &hi()), "hit");
}

#[test]
fn clients_wish_is_honoured_and_replaces_no_answer_of_others() {
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let provider = Provider::start(move |_| {
        let nth = answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Script::chat(&format!("answer {nth}"), 9, 2)
    });
    let (gateway, key) = start(cached(&provider));
    let ask = |wish: Option<&str>| {
        let request = gateway.client().request("POST", "/abc/v1/chat/completions");
        let request = request.bearer(&key).json(&hi());
        let request = match wish {
            Some(wish) => request.header("cache-control", wish),
            None => request,
        };
        let answer = request.send();
        let text = answer.json()["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .to_owned();
        (answer.header("x-resullm-cache").unwrap().to_owned(), text)
    };
    let said = |result: &str, text: &str| (result.to_owned(), text.to_owned());
    assert_eq!(ask(None), said("miss", "answer 0"));
    assert_eq!(ask(Some("no-cache")), said("bypass", "answer 1"));
    assert_eq!(ask(Some("max-age=0, No-Store")), said("bypass", "answer 2"));
    assert_eq!(ask(None), said("hit", "answer 0"));
}

#[test]
fn fresh_answer_replaces_the_own_one_where_the_scope_is_the_user() {
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let provider = Provider::start(move |_| {
        let nth = answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Script::chat(&format!("answer {nth}"), 9, 2)
    });
    let (gateway, key) = start(cached(&provider).set("caching.scope", json!("user")));
    let ask = |wish: &str| {
        let request = gateway.client().request("POST", "/abc/v1/chat/completions");
        let answer = request
            .bearer(&key)
            .json(&hi())
            .header("cache-control", wish)
            .send();
        answer.json()["choices"][0]["message"]["content"].clone()
    };
    assert_eq!(ask("max-age=9"), "answer 0");
    assert_eq!(ask("no-cache"), "answer 1");
    eventually(super::SOON, "the fresh answer is kept", || {
        (ask("max-age=9") == "answer 1").then_some(())
    });
}

#[test]
fn calls_whose_answer_may_change_are_not_kept() {
    let provider = provider();
    let (gateway, key) = start(cached(&provider));
    let remote = json!({"model": "gpt-4o", "max_tokens": 50, "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://a.example/cam.png"}}]}]});
    for _ in 0..2 {
        assert_eq!(result_of(&gateway, &key, &remote), "bypass");
    }
}

#[test]
fn nested_duplicate_is_refused() {
    let provider = provider();
    let (gateway, key) = start(cached(&provider));
    let text = r#"{"model":"gpt-4o","max_tokens":50,"messages":[{"role":"user","content":"Hi"}],"response_format":{"type":"text","type":"json_object"}}"#;
    let request = gateway.client().request("POST", "/abc/v1/chat/completions");
    let request = request
        .bearer(&key)
        .header("content-type", "application/json");
    let answer = request.body(text.as_bytes()).send();
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(provider.requests().len(), 0);
    assert_eq!(crate::harness::balance(&gateway, &key), (GRANT, GRANT));
}

#[test]
fn config_that_leads_elsewhere_begins_anew() {
    let (one, other) = (provider(), provider());
    let (gateway, key) = start(cached(&one));
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    let config: Value = cached(&other).into();
    let request = gateway.client().request("PUT", "/abc/admin/config");
    let put = request
        .bearer(gateway.admin_token())
        .json(&json!({"config": config}))
        .send();
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    assert_eq!(other.requests().len(), 1);
}

#[test]
fn answer_of_a_fallback_is_not_kept() {
    let failing = Provider::start(|_| Script::json(500, &json!({"error": {"message": "no"}})));
    let live = provider();
    let config = sample(&failing)
        .endpoint("live", &live.url("/v1/chat/completions"), "gpt-4o")
        .fallbacks(&["live"])
        .caching(20)
        .tokens(GRANT);
    let (gateway, key) = start(config);
    for _ in 0..2 {
        assert_eq!(result_of(&gateway, &key, &hi()), "miss");
    }
    assert_eq!(live.requests().len(), 2);
}

#[test]
fn transcripts_are_kept_by_their_file_and_fields() {
    let provider = Provider::start(|_| {
        Script::json(
            200,
            &json!({"text": "Good day", "usage": {"type": "tokens", "input_tokens": 9,
            "output_tokens": 2, "total_tokens": 11}}),
        )
    });
    let config = cached(&provider).set("providers.text.endpoints.openai.server", json!("openai"));
    let (gateway, key) = start(config);
    let ask = |boundary: &str, sound: &str, fields: &[(&str, &str)]| {
        let mut form = String::new();
        for (name, value) in fields {
            // Some readers take a part of another type for a file, and ignore the field.
            let (name, kind) = match name.strip_prefix("odd ") {
                Some(name) => (name, "Content-Type: application/octet-stream\r\n"),
                None => (*name, ""),
            };
            form += &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n{kind}\r\n{value}\r\n"
            );
        }
        form += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n{sound}\r\n--{boundary}--\r\n"
        );
        let request = gateway
            .client()
            .request("POST", "/abc/v1/audio/transcriptions")
            .bearer(&key);
        let kind = format!("multipart/form-data; boundary={boundary}");
        let answer = request
            .header("content-type", &kind)
            .body(form.into_bytes())
            .send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["text"], "Good day");
        answer
            .header("x-resullm-cache")
            .unwrap_or("none")
            .to_owned()
    };
    let model = ("model", "gpt-4o-transcribe");
    assert_eq!(ask("aaa", "sound", &[model, ("language", "en")]), "miss");
    assert_eq!(ask("bbb", "sound", &[("language", "en"), model]), "hit");
    assert_eq!(ask("aaa", "noise", &[model, ("language", "en")]), "miss");
    assert_eq!(ask("aaa", "sound", &[model, ("language", "de")]), "miss");
    assert_eq!(ask("aaa", "sound", &[model]), "miss");
    assert_eq!(
        ask("aaa", "sound", &[model, ("odd temperature", "0")]),
        "miss"
    );
    assert_eq!(ask("aaa", "sound", &[model, ("temperature", "0")]), "miss");
    assert_eq!(ask("aaa", "sound", &[model, ("temperature", "0")]), "hit");
}
